//! Columns that hold sealed texts, walked when the sealing key is rotated.

use reeve_types::Result;

use crate::{Tx, args};

/// A column of sealed texts. The names are ours, never a caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// Column that identifies the row.
    pub id: &'static str,
}

/// Up to `most` rows after the id `after` whose text was not sealed with the key `newest`: id and sealed text, by id.
/// Texts that are not sealed (plain settings) are passed over.
///
/// # Errors
/// As the store.
pub async fn stale(
    tx: &mut Tx,
    place: SealedColumn,
    newest: &str,
    after: &str,
    most: i64,
) -> Result<Vec<(String, String)>> {
    let SealedColumn { table, column, id } = place;
    let prefix = format!("s1.{newest}.");
    let length = prefix.len();
    let sql = format!(
        "SELECT {id}, {column} FROM {table} WHERE {id} > $1 AND substr({column}, 1, 3) = 's1.'
            AND substr({column}, 1, {length}) <> $2 ORDER BY {id} LIMIT $3"
    );
    let rows = tx.all(&sql, args![after, &prefix, most]).await?;
    rows.into_iter().map(|mut r| Ok((r.get()?, r.get()?))).collect()
}

/// How many texts of a column were sealed with the key `key_id`, or with any.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx, place: SealedColumn, key_id: Option<&str>) -> Result<i64> {
    let SealedColumn { table, column, .. } = place;
    let prefix = key_id.map_or_else(|| "s1.".to_owned(), |id| format!("s1.{id}."));
    let sql = format!("SELECT count(*) FROM {table} WHERE substr({column}, 1, {}) = $1", prefix.len());
    tx.one(&sql, args![&prefix]).await?.get()
}

/// Replaces a sealed text, if it is still `before`. Says whether it was.
///
/// # Errors
/// As the store.
pub async fn replace(tx: &mut Tx, place: SealedColumn, row: &str, before: &str, sealed: &str) -> Result<bool> {
    let SealedColumn { table, column, id } = place;
    let sql = format!("UPDATE {table} SET {column} = $1 WHERE {id} = $2 AND {column} = $3");
    Ok(tx.execute(&sql, args![sealed, row, before]).await? == 1)
}
