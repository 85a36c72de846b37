//! Everything in which the two databases differ.

use reeve_types::{Error, Result, Timestamp};

use crate::db::Tx;

/// Most arguments in one statement that both databases take.
pub const MAX_ARGS: usize = 30_000;

/// `reason` of an error that a unique index caused; the message names the index.
pub const UNIQUE: &str = "unique";
/// `reason` of an error that a foreign key caused.
pub const FOREIGN_KEY: &str = "foreign_key";
/// `reason` of an error that a full disk caused.
pub const DISK_FULL: &str = "disk_full";

/// Whether `error` says that the unique index `index` (named `table_column[_column]`) was violated.
pub fn is_unique_violation(error: &Error, index: &str) -> bool {
    error.reason == UNIQUE && error.message == index
}

/// Whether `error` says that a referenced row is missing or a referencing row remains.
pub fn is_foreign_key_violation(error: &Error) -> bool {
    error.reason == FOREIGN_KEY
}

/// A unique violation of the index `index`.
pub(crate) fn unique(index: String, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::conflict(index).with_reason(UNIQUE).with_source(source)
}

/// A foreign key violation.
pub(crate) fn foreign_key(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::conflict("a referenced row is missing or still referenced").with_reason(FOREIGN_KEY).with_source(source)
}

/// The disk is full.
pub(crate) fn disk_full(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the server's disk is full: nothing was changed; free some space and try again")
        .with_reason(DISK_FULL)
        .with_source(source)
}

/// Orders appends to a log (`events`, `audit_entries`) by commit: SQLite has one writer anyway, PostgreSQL takes a lock
/// that is held until the end of the transaction. Call it as late as possible.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn lock_log(tx: &mut Tx, log: Log) -> Result<()> {
    if tx.is_postgres() {
        let sql = match log {
            Log::Events => "SELECT CAST(pg_advisory_xact_lock(727001) AS TEXT)",
            Log::Audit => "SELECT CAST(pg_advisory_xact_lock(727002) AS TEXT)",
        };
        tx.opt(sql, &[]).await?;
    }
    Ok(())
}

/// A log whose order is the order of commits.
#[derive(Clone, Copy, Debug)]
pub enum Log {
    /// The events feed.
    Events,
    /// The audit chain.
    Audit,
}

/// ` FOR UPDATE SKIP LOCKED` where several writers exist, else nothing: appended to a SELECT that claims rows.
pub fn skip_locked(tx: &Tx) -> &'static str {
    if tx.is_postgres() { " FOR UPDATE SKIP LOCKED" } else { "" }
}

/// ` FOR UPDATE` where several writers exist, else nothing: appended to a SELECT whose row is then changed.
pub fn for_update(tx: &Tx) -> &'static str {
    if tx.is_postgres() { " FOR UPDATE" } else { "" }
}

/// A subquery with the texts of a JSON array argument, for `column IN (...)`: any number of values in one argument.
pub fn json_texts(tx: &Tx, placeholder: &str) -> String {
    if tx.is_postgres() {
        format!("SELECT jsonb_array_elements_text(CAST(CAST({placeholder} AS TEXT) AS jsonb))")
    } else {
        format!("SELECT value FROM json_each({placeholder})")
    }
}

/// The database's clock, by which the servers on it agree; with one server on a SQLite file that is `here`, its own.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn database_now(tx: &mut Tx, here: Timestamp) -> Result<Timestamp> {
    if tx.is_postgres() {
        let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
        return tx.one(sql, &[]).await?.get();
    }
    Ok(here)
}

/// Keeps other writers out of `table` until the transaction ends. SQLite has one writer anyway.
///
/// # Errors
/// As [`Tx::execute`].
pub async fn lock_table(tx: &mut Tx, table: &'static str) -> Result<()> {
    if tx.is_postgres() {
        tx.execute(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"), &[]).await?;
    }
    Ok(())
}
