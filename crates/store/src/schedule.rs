//! Times of recurring work, claimed by compare-and-set so that one server does each tick.

use reeve_types::{Result, Timestamp};

use crate::{Tx, args};

/// Makes the row unless it exists.
///
/// # Errors
/// As the store.
pub async fn ensure(tx: &mut Tx, name: &str, first_at: Timestamp) -> Result<()> {
    let sql = "INSERT INTO schedules (name, next_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    tx.execute(sql, args![name, first_at]).await.map(|_| ())
}

/// When the next tick is, None while the schedule is unknown.
///
/// # Errors
/// As the store.
pub async fn next_at(tx: &mut Tx, name: &str) -> Result<Option<Timestamp>> {
    tx.opt("SELECT next_at FROM schedules WHERE name = $1", args![name]).await?.map(|mut row| row.get()).transpose()
}

/// Claims the tick at `expected` by moving on to `next`. False when another server was faster.
///
/// # Errors
/// As the store.
pub async fn advance(tx: &mut Tx, name: &str, expected: Timestamp, next: Timestamp, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE schedules SET next_at = $3, last_at = $4 WHERE name = $1 AND next_at = $2";
    Ok(tx.execute(sql, args![name, expected, next, now]).await? == 1)
}

/// Takes or prolongs the lease. False while another owner holds it.
///
/// # Errors
/// As the store.
pub async fn lease(tx: &mut Tx, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
    let sql = "UPDATE schedules SET lease_owner = $2, lease_until = $4
        WHERE name = $1 AND (lease_owner IS NULL OR lease_owner = $2 OR lease_until < $3)";
    Ok(tx.execute(sql, args![name, owner, now, until]).await? == 1)
}

/// Gives the owner's leases back.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, owner: &str) -> Result<u64> {
    let sql = "UPDATE schedules SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = $1";
    tx.execute(sql, args![owner]).await
}
