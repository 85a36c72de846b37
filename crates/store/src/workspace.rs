//! Workspaces.

use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result, Timestamp, WorkspaceId};

use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "id, name, path, active, last_used_at, defaults, inserted_at, updated_at";

fn read(mut r: Row) -> Result<Workspace> {
    Ok(Workspace {
        id: r.get()?,
        name: r.get()?,
        path: r.get()?,
        active: r.get()?,
        last_used_at: r.get()?,
        defaults: serde_json::from_str(&r.get::<String>()?).map_err(Error::internal)?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
    })
}

/// Inserts a workspace.
///
/// # Errors
/// As the store; unique violations of `workspaces_name`, `workspaces_path` and `workspaces_active`.
pub async fn insert(tx: &mut Tx, w: &Workspace) -> Result<()> {
    let sql = format!("INSERT INTO workspaces ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    let defaults = serde_json::to_string(&w.defaults).map_err(Error::internal)?;
    let args = args![&w.id, &w.name, &w.path, w.active, w.last_used_at, defaults, w.inserted_at, w.updated_at];
    tx.execute(&sql, args).await.map(|_| ())
}

/// The workspace with this name.
///
/// # Errors
/// As the store.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<Workspace>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM workspaces WHERE name = $1"), args![name]).await?.map(read).transpose()
}

/// The workspace with this name, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn lock(tx: &mut Tx, name: &str) -> Result<Option<Workspace>> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE name = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![name]).await?.map(read).transpose()
}

/// The workspace with this id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &WorkspaceId) -> Result<Option<Workspace>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM workspaces WHERE id = $1"), args![id]).await?.map(read).transpose()
}

/// The first `most` workspaces, the oldest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, most: i64) -> Result<Vec<Workspace>> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces ORDER BY inserted_at, id LIMIT $1");
    tx.all(&sql, args![most]).await?.into_iter().map(read).collect()
}

/// How many there are.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM workspaces", &[]).await?.get()
}

/// Makes no workspace the active one.
///
/// # Errors
/// As the store.
pub async fn deactivate_all(tx: &mut Tx, now: Timestamp) -> Result<()> {
    dialect::lock_table(tx, "workspaces").await?;
    tx.execute("UPDATE workspaces SET active = 0, updated_at = $1 WHERE active = 1", args![now]).await.map(|_| ())
}

/// Makes this workspace the active one, after [`deactivate_all`].
///
/// # Errors
/// As the store.
pub async fn activate(tx: &mut Tx, id: &WorkspaceId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE workspaces SET active = 1, last_used_at = $2, updated_at = $2 WHERE id = $1";
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Notes that it was used.
///
/// # Errors
/// As the store.
pub async fn used(tx: &mut Tx, id: &WorkspaceId, now: Timestamp) -> Result<()> {
    tx.execute("UPDATE workspaces SET last_used_at = $2 WHERE id = $1", args![id, now]).await.map(|_| ())
}

/// Writes its defaults.
///
/// # Errors
/// As the store.
pub async fn set_defaults(tx: &mut Tx, w: &Workspace) -> Result<bool> {
    let defaults = serde_json::to_string(&w.defaults).map_err(Error::internal)?;
    let sql = "UPDATE workspaces SET defaults = $2, updated_at = $3 WHERE id = $1";
    Ok(tx.execute(sql, args![&w.id, defaults, w.updated_at]).await? == 1)
}

/// Hosts and taskservs in it.
///
/// # Errors
/// As the store.
pub async fn contents(tx: &mut Tx, id: &WorkspaceId) -> Result<(i64, i64)> {
    let sql = "SELECT (SELECT count(*) FROM hosts WHERE workspace_id = $1),
        (SELECT count(*) FROM taskservs WHERE workspace_id = $1)";
    let mut row = tx.one(sql, args![id]).await?;
    Ok((row.get()?, row.get()?))
}

/// Removes it with its credentials, keys and plans. False when it is gone already.
///
/// # Errors
/// As the store; a foreign key violation while hosts or taskservs are in it.
pub async fn delete(tx: &mut Tx, id: &WorkspaceId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM workspaces WHERE id = $1", args![id]).await? == 1)
}
