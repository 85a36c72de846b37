//! Times of recurring work, claimed by compare-and-set so that one server does each tick.

use reeve_types::{Result, ServerId, Timestamp};

use crate::{Row, Topic, Tx, args};

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

/// What is stored of something that recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    /// Its name; reconcilers' begin with `reconciler `.
    pub name: String,
    /// The next tick; without meaning for reconcilers.
    pub next_at: Timestamp,
    /// The last tick.
    pub last_at: Option<Timestamp>,
    /// Who has it, while the lease lasts.
    pub lease_owner: Option<String>,
    /// The end of the lease.
    pub lease_until: Option<Timestamp>,
}

/// Everything that recurs and has a row: one per name, so there are few.
///
/// # Errors
/// As the store.
pub async fn all(tx: &mut Tx) -> Result<Vec<Recurrence>> {
    let sql = "SELECT name, next_at, last_at, lease_owner, lease_until FROM schedules ORDER BY name";
    let rows = tx.all(sql, &[]).await?;
    let read = |mut row: Row| {
        Ok(Recurrence {
            name: row.get()?,
            next_at: row.get()?,
            last_at: row.get()?,
            lease_owner: row.get()?,
            lease_until: row.get()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Asks for a tick or a pass at once, of every server that listens.
///
/// # Errors
/// As the store.
pub async fn ask(tx: &mut Tx, name: &str, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO schedules (name, next_at, asked_at) VALUES ($1, $2, $2)
        ON CONFLICT (name) DO UPDATE SET asked_at = excluded.asked_at, next_at = excluded.next_at";
    tx.wake(Topic::Schedules);
    tx.execute(sql, args![name, now]).await.map(|_| ())
}

/// When somebody last asked for a tick or pass.
///
/// # Errors
/// As the store.
pub async fn asked_at(tx: &mut Tx, name: &str) -> Result<Option<Timestamp>> {
    let row = tx.opt("SELECT asked_at FROM schedules WHERE name = $1", args![name]).await?;
    Ok(row.map(|mut row| row.get()).transpose()?.flatten())
}

/// Moves a tick that is further away than it should be, as after a change of the settings. Never past `next`.
///
/// # Errors
/// As the store.
pub async fn bring_forward(tx: &mut Tx, name: &str, next: Timestamp) -> Result<bool> {
    let sql = "UPDATE schedules SET next_at = $2 WHERE name = $1 AND next_at > $2";
    Ok(tx.execute(sql, args![name, next]).await? == 1)
}

/// Sets the next tick, whatever it was.
///
/// # Errors
/// As the store.
pub async fn set_next(tx: &mut Tx, name: &str, next: Timestamp) -> Result<()> {
    let sql = "INSERT INTO schedules (name, next_at) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at";
    tx.execute(sql, args![name, next]).await.map(|_| ())
}

/// Forgets the times of something that does not recur any more.
///
/// # Errors
/// As the store.
pub async fn forget(tx: &mut Tx, name: &str) -> Result<()> {
    tx.execute("DELETE FROM schedules WHERE name = $1", args![name]).await.map(|_| ())
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

/// Gives back the leases of a server that is gone. An owner is `SERVER/RUN`.
///
/// # Errors
/// As the store.
pub async fn release_of(tx: &mut Tx, server: &ServerId) -> Result<u64> {
    let prefix = format!("{server}/");
    let sql = format!(
        "UPDATE schedules SET lease_owner = NULL, lease_until = NULL WHERE substr(lease_owner, 1, {}) = $1",
        prefix.chars().count()
    );
    tx.execute(&sql, args![&prefix]).await
}
