//! Failed logins per subject. A subject is a keyed hash of a name or an address: people type passwords into name fields.

use reeve_types::{Result, Timestamp};

use crate::{Tx, args, dialect};

/// What is remembered of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Attempts that failed or have not ended yet.
    pub failures: i64,
    /// The newest of them.
    pub last_failed_at: Timestamp,
    /// No attempt is let through before this instant.
    pub blocked_until: Timestamp,
}

/// What is remembered of a subject, for a change.
///
/// # Errors
/// As the store.
pub async fn lock(tx: &mut Tx, subject: &str) -> Result<Option<Failures>> {
    let sql = format!(
        "SELECT failures, last_failed_at, blocked_until FROM login_failures WHERE subject = $1{}",
        dialect::for_update(tx)
    );
    let row = tx.opt(&sql, args![subject]).await?;
    row.map(|mut r| Ok(Failures { failures: r.get()?, last_failed_at: r.get()?, blocked_until: r.get()? })).transpose()
}

/// Writes down what is known of a subject.
///
/// # Errors
/// As the store.
pub async fn put(tx: &mut Tx, subject: &str, f: Failures) -> Result<()> {
    let sql = "INSERT INTO login_failures (subject, failures, last_failed_at, blocked_until) VALUES ($1, $2, $3, $4)
        ON CONFLICT (subject) DO UPDATE SET failures = excluded.failures, last_failed_at = excluded.last_failed_at,
            blocked_until = excluded.blocked_until";
    tx.execute(sql, args![subject, f.failures, f.last_failed_at, f.blocked_until]).await?;
    Ok(())
}

/// Forgets a subject.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, subject: &str) -> Result<()> {
    tx.execute("DELETE FROM login_failures WHERE subject = $1", args![subject]).await?;
    Ok(())
}

/// Drops up to `most` subjects without a failure since `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn delete_before(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM login_failures WHERE subject IN
        (SELECT subject FROM login_failures WHERE last_failed_at < $1 ORDER BY last_failed_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
