//! Server processes on this store.

use reeve_types::{Result, ServerId, Timestamp};

use crate::{Tx, args};

/// Notes that a server runs.
///
/// # Errors
/// As the store.
pub async fn started(tx: &mut Tx, id: &ServerId, version: &str, listeners: &str, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO servers (id, version, listeners, started_at, last_seen_at) VALUES ($1, $2, $3, $4, $4)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, listeners = excluded.listeners,
          started_at = excluded.started_at, last_seen_at = excluded.last_seen_at";
    tx.execute(sql, args![id, version, listeners, now]).await?;
    Ok(())
}

/// Notes that a server still runs.
///
/// # Errors
/// As the store.
pub async fn seen(tx: &mut Tx, id: &ServerId, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE servers SET last_seen_at = $2 WHERE id = $1", args![id, now]).await?;
    Ok(())
}

/// Servers seen since `since`, in id order.
///
/// # Errors
/// As the store.
pub async fn alive(tx: &mut Tx, since: Timestamp) -> Result<Vec<ServerId>> {
    let rows = tx.all("SELECT id FROM servers WHERE last_seen_at >= $1 ORDER BY id", args![since]).await?;
    rows.into_iter().map(|mut row| row.get()).collect()
}

/// How many other servers were seen since then.
///
/// # Errors
/// As the store.
pub async fn others(tx: &mut Tx, me: &ServerId, since: Timestamp) -> Result<i64> {
    tx.one("SELECT count(*) FROM servers WHERE id <> $1 AND last_seen_at >= $2", args![me, since]).await?.get()
}
