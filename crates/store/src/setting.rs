//! Settings of the whole installation, a row each.

use reeve_types::{Result, Timestamp};

use crate::{Tx, args};

/// The value of a setting.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let row = tx.opt("SELECT value FROM settings WHERE name = $1", args![name]).await?;
    row.map(|mut r| r.get()).transpose()
}

/// Sets a setting.
///
/// # Errors
/// As the store.
pub async fn put(tx: &mut Tx, name: &str, value: &str, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
    tx.execute(sql, args![name, value, now]).await?;
    Ok(())
}

/// Sets a setting unless it is set. Says whether it was not. Of several servers that try, one succeeds.
///
/// # Errors
/// As the store.
pub async fn put_new(tx: &mut Tx, name: &str, value: &str, now: Timestamp) -> Result<bool> {
    let sql = "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    Ok(tx.execute(sql, args![name, value, now]).await? == 1)
}

/// Removes a setting. Says whether there was one.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<bool> {
    Ok(tx.execute("DELETE FROM settings WHERE name = $1", args![name]).await? == 1)
}
