//! Conditions, order and pages of lists, built once for every noun.

use reeve_types::{Page, Range, Result, Sort, TextMatch};

use crate::db::Tx;
use crate::value::{Row, Value};

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
        if !placeholders.is_empty() {
            self.raw(format!("{column} IN ({})", placeholders.join(",")));
        }
    }

    /// The text filter on `column`.
    pub fn text(&mut self, column: &str, filter: &'a Option<TextMatch>) {
        match filter {
            None => {}
            Some(TextMatch::Exact(text)) => self.eq(column, Some(text)),
            Some(TextMatch::AnyOf(texts)) if texts.is_empty() => self.raw("1 = 0"),
            Some(TextMatch::AnyOf(texts)) => self.any_of(column, texts),
            Some(wildcard @ TextMatch::Wildcard(_)) => {
                let placeholder = self.arg(wildcard.like_pattern());
                self.raw(format!("lower({column}) LIKE {placeholder} ESCAPE '\\'"));
            }
        }
    }

    /// Both sides of the range on `column`.
    pub fn range<T: Copy + Into<Value<'a>>>(&mut self, column: &str, range: &Range<T>) {
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

/// ` ORDER BY ...` from the wire's sort keys: unknown fields are ignored, the id breaks ties, the newest come first
/// when nothing is asked for. `sortable` pairs the public name with the column.
pub fn order_by(sorts: &[Sort], sortable: &[(&str, &str)], newest_first: &str, id: &str) -> String {
    let mut keys: Vec<String> = Vec::new();
    let mut last_descending = true;
    for sort in sorts {
        if let Some((_, column)) = sortable.iter().find(|(name, _)| *name == sort.field) {
            // NULLs come last going up on both databases.
            let (nulls, direction) = if sort.descending { ("DESC", "DESC") } else { ("ASC", "ASC") };
            keys.push(format!("({column} IS NULL) {nulls}, {column} {direction}"));
            last_descending = sort.descending;
        }
    }
    if keys.is_empty() {
        return format!(" ORDER BY {newest_first} DESC, {id} DESC");
    }
    format!(" ORDER BY {}, {id} {}", keys.join(", "), if last_descending { "DESC" } else { "ASC" })
}

/// Counts and reads one page: `SELECT <columns> FROM <from> <where> <order> LIMIT OFFSET`.
///
/// # Errors
/// As [`Tx::all`].
pub async fn page(
    tx: &mut Tx,
    columns: &str,
    from: &str,
    count_from: &str,
    mut filter: Where<'_>,
    order: &str,
    page: Page,
) -> Result<(Vec<Row>, u64)> {
    let count_sql = format!("SELECT count(*) FROM {count_from}{}", filter.sql());
    let total: i64 = tx.one(&count_sql, filter.args()).await?.get()?;
    if page.offset() >= total {
        return Ok((Vec::new(), total as u64));
    }
    let conditions = filter.sql();
    let limit = filter.arg(i64::try_from(page.size).unwrap_or(i64::MAX));
    let offset = filter.arg(page.offset());
    let sql = format!("SELECT {columns} FROM {from}{conditions}{order} LIMIT {limit} OFFSET {offset}");
    Ok((tx.all(&sql, filter.args()).await?, total as u64))
}
