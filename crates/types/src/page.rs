//! Pages of lists and how they are sorted.

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// 1-based.
    pub number: u64,
    /// Rows per page, 1..=100 on the wire.
    pub size: u64,
}

impl Default for Page {
    fn default() -> Self {
        Self { number: 1, size: 20 }
    }
}

impl Page {
    /// Rows before this page. Saturates, so that absurd page numbers are empty pages.
    pub fn offset(&self) -> i64 {
        let rows = self.number.saturating_sub(1).saturating_mul(self.size);
        i64::try_from(rows).unwrap_or(i64::MAX)
    }
}

/// A page of a list with the size of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Rows in the whole list.
    pub total: u64,
    /// What was asked for.
    pub page: Page,
}

impl<T> Paged<T> {
    /// The same page with each row converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(convert).collect(), total: self.total, page: self.page }
    }
}

/// One sort key: a field's public name and a direction. Unknown names are ignored by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Field name as on the wire.
    pub field: String,
    /// Highest first.
    pub descending: bool,
}
