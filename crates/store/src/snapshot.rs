//! Whole tables, read page by page in one consistent state and written into an empty database of either kind. Backups
//! stand on this; it knows the catalogue and no table by name.

use reeve_types::{Error, Result};

use crate::value::{Cell, Value};
use crate::{Tx, args, dialect};

/// Text read at a time, in bytes; a single row may hold more.
const PAGE_BYTES: usize = 1 << 20;
/// Rows read at a time.
const PAGE_ROWS: i64 = 1_000;
/// How far numbers of a restored database jump ahead, so that none that was given out after the snapshot is given out a
/// second time: whoever follows the feed from there misses nothing.
const SEQUENCE_GAP: i64 = 1_000_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Int,
    /// Text.
    Text,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, by name.
    pub columns: Vec<Column>,
    /// The primary key, as places in `columns`.
    key: Vec<usize>,
}

impl Table {
    fn column_list(&self) -> String {
        self.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn key_list(&self) -> String {
        self.key.iter().map(|i| self.columns[*i].name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Every table of ours, by name.
///
/// # Errors
/// As the store; Internal for a table that cannot be copied.
pub async fn tables(tx: &mut Tx) -> Result<Vec<Table>> {
    let names: Vec<String> =
        tx.all(dialect::tables_sql(tx), &[]).await?.into_iter().map(|mut r| r.get()).collect::<Result<_>>()?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let mut columns: Vec<(Column, i64)> = Vec::new();
        for mut row in tx.all(dialect::columns_sql(tx), args![&name]).await? {
            let (column, declared, place) = (row.get::<String>()?, row.get::<String>()?, row.get::<i64>()?);
            let kind = match declared.as_str() {
                "bigint" | "integer" | "smallint" => Kind::Int,
                "text" => Kind::Text,
                other => return Err(Error::internal(format!("{name}.{column} is {other}, which backups do not know"))),
            };
            columns.push((Column { name: column, kind }, place));
        }
        // The order in which columns came into being differs between databases and versions.
        columns.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let mut key: Vec<(i64, usize)> = columns
            .iter()
            .enumerate()
            .filter(|(_, (_, place))| *place > 0)
            .map(|(i, (_, place))| (*place, i))
            .collect();
        key.sort_unstable();
        if key.is_empty() {
            return Err(Error::internal(format!("{name} has no primary key, so it cannot be read page by page")));
        }
        let columns = columns.into_iter().map(|(column, _)| column).collect();
        tables.push(Table { name, columns, key: key.into_iter().map(|(_, i)| i).collect() });
    }
    Ok(tables)
}

/// How far the numbers of a table have been given out.
///
/// # Errors
/// As the store.
pub async fn sequences(tx: &mut Tx) -> Result<Vec<(String, i64)>> {
    tx.all(dialect::sequences_sql(tx), &[]).await?.into_iter().map(|mut r| Ok((r.get()?, r.get()?))).collect()
}

/// A reader of one table. Rows come in the order of the primary key.
pub struct Pages<'a> {
    table: &'a Table,
    after: Option<Vec<Cell>>,
    most: i64,
    done: bool,
}

impl<'a> Pages<'a> {
    /// From the first row on.
    pub fn new(table: &'a Table) -> Self {
        Self { table, after: None, most: PAGE_ROWS, done: false }
    }

    /// The next rows; empty after the last.
    ///
    /// # Errors
    /// As the store.
    pub async fn next(&mut self, tx: &mut Tx) -> Result<Vec<Vec<Cell>>> {
        if self.done {
            return Ok(Vec::new());
        }
        let (columns, key, name) = (self.table.column_list(), self.table.key_list(), &self.table.name);
        let rows = match &self.after {
            None => {
                let sql = format!("SELECT {columns} FROM {name} ORDER BY {key} LIMIT $1");
                tx.some(&sql, args![self.most], PAGE_BYTES).await?
            }
            Some(after) => {
                let marks: Vec<String> = (2..after.len() + 2).map(|n| format!("${n}")).collect();
                let marks = marks.join(", ");
                let sql = format!("SELECT {columns} FROM {name} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT $1");
                let mut args = vec![Value::from(self.most)];
                args.extend(after.iter().map(Value::from));
                tx.some(&sql, &args, PAGE_BYTES).await?
            }
        };
        let rows: Vec<Vec<Cell>> = rows.into_iter().map(crate::Row::into_cells).collect();
        let Some(last) = rows.last() else {
            self.done = true;
            return Ok(rows);
        };
        self.after = Some(self.table.key.iter().map(|i| last[*i].clone()).collect());
        // The bytes ran out first: ask for no more rows than are kept, since PostgreSQL sends all that are asked for.
        let kept = i64::try_from(rows.len()).unwrap_or(PAGE_ROWS);
        self.most = if kept < self.most { kept.max(1) } else { (self.most * 2).min(PAGE_ROWS) };
        Ok(rows)
    }
}

/// A database that is being filled.
pub struct Load {
    tables: Vec<Table>,
    suspended: Vec<String>,
}

impl Load {
    /// Begins to fill the empty tables of the transaction's schema.
    ///
    /// # Errors
    /// As the store.
    pub async fn begin(tx: &mut Tx) -> Result<Self> {
        let tables = tables(tx).await?;
        let suspended = dialect::suspend_foreign_keys(tx).await?;
        // What a migration put there comes with the rows.
        for table in &tables {
            tx.execute(&format!("DELETE FROM {}", table.name), &[]).await?;
        }
        Ok(Self { tables, suspended })
    }

    /// The table called `name`, if its columns are these.
    ///
    /// # Errors
    /// Conflict when there is no such table.
    pub fn table(&self, name: &str, columns: &[Column]) -> Result<&Table> {
        let table = self.tables.iter().find(|t| t.name == name);
        let table = table.ok_or_else(|| Error::conflict(format!("this schema has no table `{name}`")))?;
        if table.columns != columns {
            return Err(Error::conflict(format!("the table `{name}` of this schema has other columns")));
        }
        Ok(table)
    }

    /// Inserts rows of [`table`](Self::table).
    ///
    /// # Errors
    /// As the store; Conflict when a row is there already.
    pub async fn insert(&self, tx: &mut Tx, table: &Table, rows: &[Vec<Cell>]) -> Result<u64> {
        let into = format!("{} ({}){}", table.name, table.column_list(), dialect::keep_numbers(tx));
        let rows: Vec<Vec<Value<'_>>> = rows.iter().map(|row| row.iter().map(Value::from).collect()).collect();
        tx.insert_many(&into, &rows, "").await
    }

    /// Sets the numbers that the database gives out, and checks what could not be checked row by row.
    ///
    /// # Errors
    /// As the store; Conflict when rows point to rows that are not there.
    pub async fn end(self, tx: &mut Tx, sequences: &[(String, i64)]) -> Result<()> {
        for (name, number) in sequences {
            if let Some(table) = self.tables.iter().find(|t| t.name == *name)
                && let [key] = table.key.as_slice()
            {
                let number = number.saturating_add(SEQUENCE_GAP);
                dialect::set_sequence(tx, &table.name, &table.columns[*key].name, number).await?;
            }
        }
        dialect::check_foreign_keys(tx, &self.suspended).await
    }
}

/// A row as the database will give it back.
pub fn as_stored(tx: &Tx, row: &mut [Cell]) {
    for cell in row {
        if let Cell::Text(text) = cell
            && let std::borrow::Cow::Owned(stored) = dialect::as_stored(tx, text)
        {
            *text = stored;
        }
    }
}

/// Whether the database holds no table at all.
///
/// # Errors
/// As the store.
pub async fn is_empty(tx: &mut Tx) -> Result<bool> {
    let names = tx.all(dialect::tables_sql(tx), &[]).await?;
    Ok(names.is_empty())
}

/// Drops every table of ours on PostgreSQL. A SQLite database is replaced as a file.
///
/// # Errors
/// Conflict on SQLite, and when there are tables and none of them says that they are ours.
pub async fn drop_all(tx: &mut Tx) -> Result<()> {
    if !tx.is_postgres() {
        return Err(Error::conflict("a SQLite database is not emptied in place; restore into a new file"));
    }
    let names = tx.all(dialect::tables_sql(tx), &[]).await?;
    let names: Vec<String> = names.into_iter().map(|mut r| r.get()).collect::<Result<_>>()?;
    if !names.iter().any(|name| name == "audit_entries") && !names.is_empty() {
        return Err(Error::conflict("the database holds tables that are not Reeve's; name another database"));
    }
    for name in names.iter().map(String::as_str).chain(["schema_migrations", "execution_counts"]) {
        tx.execute(&format!("DROP TABLE IF EXISTS \"{name}\" CASCADE"), &[]).await?;
    }
    Ok(())
}
