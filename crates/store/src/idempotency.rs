//! `Idempotency-Key` rows: inserted with the effect they stand for, answered afterwards.

use reeve_types::{Result, Timestamp};

use crate::{Tx, args};

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Hex SHA-256 of the request it came with.
    pub fingerprint: String,
    /// The request that took it.
    pub request_id: String,
    /// The sealed answer; None until it was given.
    pub reply: Option<String>,
    /// When it was taken.
    pub inserted_at: Timestamp,
}

/// Takes a key. False when it is taken, or was and is older than `expired_before` ago without being replaced.
/// Waits for a transaction that is taking the same key.
///
/// # Errors
/// As the store.
pub async fn insert(
    tx: &mut Tx,
    principal: &str,
    key: &str,
    fingerprint: &str,
    request_id: &str,
    now: Timestamp,
    expired_before: Timestamp,
) -> Result<bool> {
    let sql = "INSERT INTO idempotency_keys (principal, key, fingerprint, request_id, reply, inserted_at)
        VALUES ($1, $2, $3, $4, NULL, $5)
        ON CONFLICT (principal, key) DO UPDATE SET fingerprint = excluded.fingerprint,
            request_id = excluded.request_id, reply = NULL, inserted_at = excluded.inserted_at
        WHERE idempotency_keys.inserted_at < $6";
    Ok(tx.execute(sql, args![principal, key, fingerprint, request_id, now, expired_before]).await? == 1)
}

/// The row of a key.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, principal: &str, key: &str) -> Result<Option<KeyRow>> {
    let sql = "SELECT fingerprint, request_id, reply, inserted_at FROM idempotency_keys
        WHERE principal = $1 AND key = $2";
    let row = tx.opt(sql, args![principal, key]).await?;
    row.map(|mut r| Ok(KeyRow { fingerprint: r.get()?, request_id: r.get()?, reply: r.get()?, inserted_at: r.get()? }))
        .transpose()
}

/// Stores the answer of the request that took the key. False when that request did not take it.
///
/// # Errors
/// As the store.
pub async fn set_reply(tx: &mut Tx, principal: &str, key: &str, request_id: &str, reply: &str) -> Result<bool> {
    let sql = "UPDATE idempotency_keys SET reply = $1 WHERE principal = $2 AND key = $3 AND request_id = $4";
    Ok(tx.execute(sql, args![reply, principal, key, request_id]).await? == 1)
}

/// A sealed answer and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedReply {
    /// The key's holder.
    pub principal: String,
    /// The key.
    pub key: String,
    /// The sealed answer.
    pub reply: String,
}

/// Up to `most` answers after `(principal, key)` that were not sealed with the key `newest`, in that order.
///
/// # Errors
/// As the store.
pub async fn stale_replies(tx: &mut Tx, newest: &str, after: (&str, &str), most: i64) -> Result<Vec<SealedReply>> {
    let prefix = format!("s1.{newest}.");
    let length = prefix.len();
    let sql = format!(
        "SELECT principal, key, reply FROM idempotency_keys WHERE (principal, key) > ($1, $2)
           AND reply IS NOT NULL AND substr(reply, 1, {length}) <> $3 ORDER BY principal, key LIMIT $4"
    );
    let rows = tx.all(&sql, args![after.0, after.1, &prefix, most]).await?;
    rows.into_iter().map(|mut r| Ok(SealedReply { principal: r.get()?, key: r.get()?, reply: r.get()? })).collect()
}

/// Replaces a sealed answer, if it is still `before.reply`. Says whether it was.
///
/// # Errors
/// As the store.
pub async fn reseal(tx: &mut Tx, before: &SealedReply, sealed: &str) -> Result<bool> {
    let sql = "UPDATE idempotency_keys SET reply = $1 WHERE principal = $2 AND key = $3 AND reply = $4";
    Ok(tx.execute(sql, args![sealed, &before.principal, &before.key, &before.reply]).await? == 1)
}

/// Drops up to `most` keys taken before `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn delete_before(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM idempotency_keys WHERE (principal, key) IN
        (SELECT principal, key FROM idempotency_keys WHERE inserted_at < $1 ORDER BY inserted_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
