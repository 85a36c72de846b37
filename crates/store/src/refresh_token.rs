//! Chains of refresh tokens: one per login, each token exchanged once. Only hashes of them are here.

use reeve_types::user::RefreshToken;
use reeve_types::{Result, SessionId, Timestamp, UserId};

use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "hash, session_id, user_id, used_at, revoked_at, expires_at, inserted_at";

fn read(mut r: Row) -> Result<RefreshToken> {
    Ok(RefreshToken {
        hash: r.get()?,
        session_id: r.get()?,
        user_id: r.get()?,
        used_at: r.get()?,
        revoked_at: r.get()?,
        expires_at: r.get()?,
        inserted_at: r.get()?,
    })
}

/// Inserts a token.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, t: &RefreshToken) -> Result<()> {
    let sql = format!("INSERT INTO refresh_tokens ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    let args = args![&t.hash, &t.session_id, &t.user_id, t.used_at, t.revoked_at, t.expires_at, t.inserted_at];
    tx.execute(&sql, args).await?;
    Ok(())
}

/// A token by its hash. Locked, so that of two exchanges at once the second sees the first.
///
/// # Errors
/// As the store.
pub async fn lock(tx: &mut Tx, hash: &str) -> Result<Option<RefreshToken>> {
    let sql = format!("SELECT {COLUMNS} FROM refresh_tokens WHERE hash = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![hash]).await?.map(read).transpose()
}

/// Notes the exchange of a token.
///
/// # Errors
/// As the store.
pub async fn used(tx: &mut Tx, hash: &str, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1 AND used_at IS NULL";
    Ok(tx.execute(sql, args![hash, now]).await? == 1)
}

/// Revokes a chain. Says how many tokens of it were good until then.
///
/// # Errors
/// As the store.
pub async fn revoke_session(tx: &mut Tx, session: &SessionId, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE refresh_tokens SET revoked_at = $2 WHERE session_id = $1 AND revoked_at IS NULL";
    tx.execute(sql, args![session, now]).await
}

/// Revokes all chains of a user.
///
/// # Errors
/// As the store.
pub async fn revoke_user(tx: &mut Tx, user: &UserId, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE refresh_tokens SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
    tx.execute(sql, args![user, now]).await
}

/// Whether a chain exists and is not revoked.
///
/// # Errors
/// As the store.
pub async fn session_is_open(tx: &mut Tx, session: &SessionId) -> Result<bool> {
    let sql = "SELECT 1 FROM refresh_tokens WHERE session_id = $1 AND revoked_at IS NULL LIMIT 1";
    Ok(tx.opt(sql, args![session]).await?.is_some())
}

/// Drops up to `most` tokens that expired before `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn delete_expired(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM refresh_tokens WHERE hash IN
        (SELECT hash FROM refresh_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
