//! API tokens. Only hashes of them are here.

use reeve_types::user::{ApiToken, User};
use reeve_types::{ApiTokenId, Error, Page, Paged, Result, Timestamp, UserId};

use crate::filter::{self, Order, Where};
use crate::{Row, Tx, args, user};

const COLUMNS: &str = "id, user_id, name, prefix, hash, scopes, expires_at, last_used_at, inserted_at";

fn read(r: &mut Row) -> Result<ApiToken> {
    Ok(ApiToken {
        id: r.get()?,
        user_id: r.get()?,
        name: r.get()?,
        prefix: r.get()?,
        hash: r.get()?,
        scopes: serde_json::from_str(&r.get::<String>()?).map_err(Error::internal)?,
        expires_at: r.get()?,
        last_used_at: r.get()?,
        inserted_at: r.get()?,
    })
}

/// Inserts a token.
///
/// # Errors
/// As the store; a name the user has already violates `api_tokens_user_id_name`.
pub async fn insert(tx: &mut Tx, t: &ApiToken) -> Result<()> {
    let scopes = serde_json::to_string(&t.scopes).map_err(Error::internal)?;
    let sql = format!("INSERT INTO api_tokens ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let args =
        args![&t.id, &t.user_id, &t.name, &t.prefix, &t.hash, scopes, t.expires_at, t.last_used_at, t.inserted_at];
    tx.execute(&sql, args).await?;
    Ok(())
}

/// A token by its hash, with its user.
///
/// # Errors
/// As the store.
pub async fn by_hash(tx: &mut Tx, hash: &str) -> Result<Option<(ApiToken, User)>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE hash = $1");
    let Some(mut row) = tx.opt(&sql, args![hash]).await? else { return Ok(None) };
    let token = read(&mut row)?;
    Ok(user::get(tx, &token.user_id).await?.map(|user| (token, user)))
}

/// A token by id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &ApiTokenId) -> Result<Option<ApiToken>> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE id = $1");
    tx.opt(&sql, args![id]).await?.map(|mut r| read(&mut r)).transpose()
}

/// One page of tokens, of one user or of everybody, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, user: Option<&UserId>, page: Page) -> Result<Paged<ApiToken>> {
    let mut w = Where::new();
    w.eq("user_id", user);
    let order = Order::by("inserted_at", true).then("id", true);
    let (rows, total) = filter::page(tx, COLUMNS, "api_tokens", "api_tokens", w, &order, page).await?;
    Ok(Paged { items: rows.into_iter().map(|mut r| read(&mut r)).collect::<Result<_>>()?, total, page })
}

/// Removes a token.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &ApiTokenId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM api_tokens WHERE id = $1", args![id]).await? == 1)
}

/// Notes a use, unless a later one is noted.
///
/// # Errors
/// As the store.
pub async fn used(tx: &mut Tx, id: &ApiTokenId, at: Timestamp) -> Result<()> {
    let sql = "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 AND coalesce(last_used_at, 0) < $2";
    tx.execute(sql, args![id, at]).await?;
    Ok(())
}
