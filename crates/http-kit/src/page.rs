//! Paging and sorting as lists are asked for and answered.

use reeve_types::{Page, Paged, Sort};
use serde::Serialize;
use serde_json::{Map, Value};

/// The pagination object of list answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pagination {
    /// 1-based.
    pub page: u64,
    /// Rows per page.
    pub page_size: u64,
    /// Rows in the whole list.
    pub total_count: u64,
    /// 0 for an empty list.
    pub total_pages: u64,
    /// Whether a later page has rows.
    pub has_next: bool,
    /// Whether this is not the first page.
    pub has_prev: bool,
    /// None on the last page.
    pub next_page: Option<u64>,
    /// None on the first page.
    pub prev_page: Option<u64>,
}

impl Pagination {
    /// Describes a page.
    pub fn of<T>(paged: &Paged<T>) -> Self {
        let (page, page_size) = (paged.page.number, paged.page.size.max(1));
        let total_pages = paged.total.div_ceil(page_size);
        let next_page = (page < total_pages).then(|| page + 1);
        let prev_page = (page > 1).then(|| page - 1);
        Self {
            page,
            page_size,
            total_count: paged.total,
            total_pages,
            has_next: next_page.is_some(),
            has_prev: prev_page.is_some(),
            next_page,
            prev_page,
        }
    }
}

/// `page` and `page_size` of a checked query.
pub fn page_of(query: &Map<String, Value>) -> Page {
    let default = Page::default();
    let number = |name: &str| query.get(name).and_then(Value::as_u64);
    Page { number: number("page").unwrap_or(default.number), size: number("page_size").unwrap_or(default.size) }
}

/// `order_by` and `order_directions` of a checked query, ascending where no direction is given. Empty when absent: the
/// list's own order applies.
pub fn sort_of(query: &Map<String, Value>) -> Vec<Sort> {
    let list = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default().split(',').map(str::trim);
    let mut directions = list("order_directions");
    list("order_by")
        .map(|field| Sort { field: field.to_owned(), descending: directions.next() == Some("desc") })
        .filter(|sort| !sort.field.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pagination(number: u64, size: u64, total: u64) -> Value {
        json!(Pagination::of(&Paged { items: Vec::<()>::new(), total, page: Page { number, size } }))
    }

    #[test]
    fn first_middle_last_and_empty() {
        assert_eq!(
            pagination(1, 20, 45),
            json!({"page": 1, "page_size": 20, "total_count": 45, "total_pages": 3, "has_next": true, "has_prev": false, "next_page": 2, "prev_page": null})
        );
        assert_eq!(pagination(2, 20, 45)["next_page"], 3);
        assert_eq!(pagination(2, 20, 45)["prev_page"], 1);
        assert_eq!(pagination(3, 20, 45)["next_page"], Value::Null);
        assert_eq!(pagination(1, 20, 0)["total_pages"], 0);
        assert_eq!(pagination(u64::MAX, 100, u64::MAX)["has_next"], false);
    }

    #[test]
    fn sorting_pairs_fields_with_directions() {
        let query = json!({"order_by": "name, status,,x", "order_directions": "desc,asc"});
        let sort = sort_of(query.as_object().unwrap());
        let shown: Vec<_> = sort.iter().map(|s| (s.field.as_str(), s.descending)).collect();
        assert_eq!(shown, [("name", true), ("status", false), ("x", false)]);
        assert!(sort_of(&Map::new()).is_empty());
        assert_eq!(page_of(json!({"page": 3, "page_size": 7}).as_object().unwrap()), Page { number: 3, size: 7 });
    }
}
