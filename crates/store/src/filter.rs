//! Conditions, order and pages of lists, built once for every noun.

use reeve_types::{Page, Range, Result, Sort, TextMatch};

use crate::db::Tx;
use crate::value::{Row, Value};

/// So many rows are collected and sorted sooner than they are found by walking through a list in its order.
pub(crate) const FEW: i64 = 5_000;

/// A growing `WHERE` clause with its arguments.
#[derive(Default)]
pub struct Where<'a> {
    conditions: Vec<String>,
    args: Vec<Value<'a>>,
}

impl<'a> Where<'a> {
    /// No conditions: everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument and gives its placeholder.
    pub fn arg(&mut self, value: impl Into<Value<'a>>) -> String {
        self.args.push(value.into());
        format!("${}", self.args.len())
    }

    /// Adds a condition as it stands.
    pub fn raw(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// `column = value`, when there is one.
    pub fn eq<V: Into<Value<'a>>>(&mut self, column: &str, value: Option<V>) {
        if let Some(value) = value {
            let placeholder = self.arg(value);
            self.raw(format!("{column} = {placeholder}"));
        }
    }

    /// `column` is one of `values`; an empty list is no condition.
    pub fn any_of<V: Into<Value<'a>>>(&mut self, column: &str, values: impl IntoIterator<Item = V>) {
        let placeholders: Vec<String> = values.into_iter().map(|v| self.arg(v)).collect();
        match placeholders.as_slice() {
            [] => {}
            [one] => self.raw(format!("{column} = {one}")),
            several => self.raw(format!("{column} IN ({})", several.join(","))),
        }
    }

    /// The text filter on `column`.
    pub fn text(&mut self, column: &str, filter: &'a Option<TextMatch>) {
        if let Some(condition) = self.text_condition(column, filter) {
            self.raw(condition);
        }
    }

    /// The condition of [`text`](Self::text), for the caller to put into a larger one.
    pub fn text_condition(&mut self, column: &str, filter: &'a Option<TextMatch>) -> Option<String> {
        Some(match filter.as_ref()? {
            TextMatch::Exact(text) => format!("{column} = {}", self.arg(text)),
            TextMatch::AnyOf(texts) if texts.is_empty() => "1 = 0".to_owned(),
            TextMatch::AnyOf(texts) => {
                let placeholders: Vec<String> = texts.iter().map(|text| self.arg(text)).collect();
                format!("{column} IN ({})", placeholders.join(","))
            }
            wildcard @ TextMatch::Wildcard(_) => {
                let placeholder = self.arg(wildcard.like_pattern());
                format!("lower({column}) LIKE lower({placeholder}) ESCAPE '\\'")
            }
        })
    }

    /// Both sides of the range on `column`.
    pub fn range<T: Copy + PartialEq + Into<Value<'a>>>(&mut self, column: &str, range: &Range<T>) {
        if range.gte == range.lte {
            // One value leaves an index in the order of its next column.
            return self.eq(column, range.gte);
        }
        if let Some(lowest) = range.gte {
            let placeholder = self.arg(lowest);
            self.raw(format!("{column} >= {placeholder}"));
        }
        if let Some(highest) = range.lte {
            let placeholder = self.arg(highest);
            self.raw(format!("{column} <= {placeholder}"));
        }
    }

    /// `column` is set, or is not.
    pub fn present(&mut self, column: &str, present: Option<bool>) {
        match present {
            Some(true) => self.raw(format!("{column} IS NOT NULL")),
            Some(false) => self.raw(format!("{column} IS NULL")),
            None => {}
        }
    }

    /// ` WHERE ...` or nothing.
    pub fn sql(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!(" WHERE {}", self.conditions.join(" AND ")) }
    }

    /// The arguments so far.
    pub fn args(&self) -> &[Value<'a>] {
        &self.args
    }
}

/// The order of a list. Its last key is unique, so that pages neither overlap nor leave anything out.
#[derive(Clone, Debug, Default)]
pub struct Order(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    column: String,
    descending: bool,
    /// Whether the column may be NULL: then it is said where NULLs stand, in the words of an index read in either
    /// direction, so that both databases can take the rows from it.
    nullable: bool,
}

impl Order {
    /// By one column without NULLs, the highest first if `descending`.
    pub fn by(column: &str, descending: bool) -> Self {
        Self::default().then(column, descending)
    }

    /// Within equal rows by another column without NULLs.
    #[must_use]
    pub fn then(mut self, column: &str, descending: bool) -> Self {
        self.0.push(Key { column: column.to_owned(), descending, nullable: false });
        self
    }

    /// The column that tells rows apart.
    fn id(&self) -> &str {
        self.0.last().map_or("", |key| &key.column)
    }

    fn reversed(&self) -> Self {
        Self(self.0.iter().map(|key| Key { descending: !key.descending, ..key.clone() }).collect())
    }

    /// ` ORDER BY ...`.
    fn sql(&self) -> String {
        let key = |key: &Key| {
            let direction = match (key.descending, key.nullable) {
                (true, false) => "DESC",
                (false, false) => "ASC",
                (true, true) => "DESC NULLS FIRST",
                (false, true) => "ASC NULLS LAST",
            };
            format!("{} {direction}", key.column)
        };
        format!(" ORDER BY {}", self.0.iter().map(key).collect::<Vec<_>>().join(", "))
    }
}

/// The order of the wire's sort keys: unknown fields are ignored, NULLs come last going up, the id breaks ties, the newest
/// come first when nothing is asked for. `sortable` pairs the public name with the column.
pub fn order_by(sorts: &[Sort], sortable: &[(&str, &str)], newest_first: &str, id: &str) -> Order {
    let mut keys: Vec<Key> = Vec::new();
    let mut last_descending = true;
    for sort in sorts {
        // A field that comes again orders nothing more, and databases take only so many.
        let again = |column: &str| keys.iter().any(|key| key.column == column);
        if let Some((_, column)) = sortable.iter().find(|(name, column)| *name == sort.field && !again(column)) {
            keys.push(Key { column: (*column).to_owned(), descending: sort.descending, nullable: true });
            last_descending = sort.descending;
        }
    }
    if keys.is_empty() {
        return Order::by(newest_first, true).then(id, true);
    }
    Order(keys).then(id, last_descending)
}

/// Counts and reads one page of `columns` out of `from`. `count_from` is as much of `from` as `filter` and `order` speak of,
/// with the same rows.
///
/// # Errors
/// As [`Tx::all`].
pub async fn page(
    tx: &mut Tx,
    columns: &str,
    from: &str,
    count_from: &str,
    filter: Where<'_>,
    order: &Order,
    page: Page,
) -> Result<(Vec<Row>, u64)> {
    let total = count_of(tx, count_from, &filter).await?;
    Ok((page_of(tx, columns, from, count_from, filter, order, page, total).await?, total as u64))
}

/// How many rows there are.
pub(crate) async fn count_of(tx: &mut Tx, from: &str, filter: &Where<'_>) -> Result<i64> {
    tx.one(&format!("SELECT count(*) FROM {from}{}", filter.sql()), filter.args()).await?.get()
}

/// As [`page`], where it is known that there are `total` rows in all.
///
/// # Errors
/// As [`Tx::all`].
#[allow(clippy::too_many_arguments)] // the parts of one SELECT
pub async fn page_of(
    tx: &mut Tx,
    columns: &str,
    from: &str,
    pick_from: &str,
    mut filter: Where<'_>,
    order: &Order,
    page: Page,
    total: i64,
) -> Result<Vec<Row>> {
    if page.offset() >= total {
        return Ok(Vec::new());
    }
    let rows = total.saturating_sub(page.offset()).min(i64::try_from(page.size).unwrap_or(i64::MAX));
    // Rows that are passed over cost time too: a page of the second half is counted off from the end.
    let from_the_end = page.offset() > total / 2;
    let (picking, offset) =
        if from_the_end { (order.reversed(), total - page.offset() - rows) } else { (order.clone(), page.offset()) };
    let (conditions, id) = (filter.sql(), order.id());
    let (limit, offset) = (filter.arg(rows), filter.arg(offset));
    // Only the ids are sorted and passed over, from an index where there is one; whole rows are read for this page alone.
    let sql = format!(
        "SELECT {columns} FROM (SELECT {id} AS page_id FROM {pick_from}{conditions}{} LIMIT {limit} OFFSET {offset}) AS picked
         CROSS JOIN {from} WHERE {id} = picked.page_id{}",
        picking.sql(),
        order.sql()
    );
    tx.all(&sql, filter.args()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_orders_once() {
        let sort = |field: &str, descending| Sort { field: field.to_owned(), descending };
        let mut sorts = vec![sort("name", true), sort("colour", false)];
        sorts.extend((0..5_000).map(|_| sort("name", false)));
        let order = order_by(&sorts, &[("name", "c.name")], "c.inserted_at", "c.id");
        assert_eq!(order.sql(), " ORDER BY c.name DESC NULLS FIRST, c.id DESC");
    }
}
