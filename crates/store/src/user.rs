//! Users.

use reeve_types::user::User;
use reeve_types::{Page, Paged, Result, Role, Timestamp, UserId};

use crate::filter::{self, Order, Where};
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str =
    "id, username, password_hash, role, disabled, token_version, last_login_at, inserted_at, updated_at";

fn read(mut r: Row) -> Result<User> {
    Ok(User {
        id: r.get()?,
        username: r.get()?,
        password_hash: r.get()?,
        role: r.get()?,
        disabled: r.get()?,
        token_version: r.get()?,
        last_login_at: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
    })
}

/// Inserts a user.
///
/// # Errors
/// As the store; a taken name violates `users_username`.
pub async fn insert(tx: &mut Tx, u: &User) -> Result<()> {
    let sql = format!("INSERT INTO users ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let args = args![
        &u.id,
        &u.username,
        &u.password_hash,
        u.role,
        u.disabled,
        u.token_version,
        u.last_login_at,
        u.inserted_at,
        u.updated_at
    ];
    tx.execute(&sql, args).await?;
    Ok(())
}

/// Writes back everything that can change, except the last login.
///
/// # Errors
/// As [`insert`].
pub async fn update(tx: &mut Tx, u: &User) -> Result<bool> {
    let sql = "UPDATE users SET username = $2, password_hash = $3, role = $4, disabled = $5, token_version = $6,
        updated_at = $7 WHERE id = $1";
    let args = args![&u.id, &u.username, &u.password_hash, u.role, u.disabled, u.token_version, u.updated_at];
    Ok(tx.execute(sql, args).await? == 1)
}

/// Notes a login, and a password hash with stronger settings when there is one.
///
/// # Errors
/// As the store.
pub async fn logged_in(tx: &mut Tx, id: &UserId, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE users SET last_login_at = $2 WHERE id = $1", args![id, now]).await?;
    Ok(())
}

/// Removes a user; tokens and sessions go with it.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &UserId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM users WHERE id = $1", args![id]).await? == 1)
}

/// A user by id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &UserId) -> Result<Option<User>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A user by id, for a change.
///
/// # Errors
/// As the store.
pub async fn lock(tx: &mut Tx, id: &UserId) -> Result<Option<User>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A user by name.
///
/// # Errors
/// As the store.
pub async fn by_name(tx: &mut Tx, username: &str) -> Result<Option<User>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE username = $1");
    tx.opt(&sql, args![username]).await?.map(read).transpose()
}

/// One page of users, by name.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, page: Page) -> Result<Paged<User>> {
    let order = Order::by("username", false);
    let (rows, total) = filter::page(tx, COLUMNS, "users", "users", Where::new(), &order, page).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page })
}

/// How many users there are.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM users", &[]).await?.get()
}

/// Ids of the users with `role` that can log in. Locked until the end of the transaction, so that two who each demote
/// "the other" admin wait for each other.
///
/// # Errors
/// As the store.
pub async fn lock_enabled_with(tx: &mut Tx, role: Role) -> Result<Vec<UserId>> {
    let sql = format!("SELECT id FROM users WHERE role = $1 AND disabled = 0 ORDER BY id{}", dialect::for_update(tx));
    tx.all(&sql, args![role]).await?.into_iter().map(|mut r| r.get()).collect()
}
