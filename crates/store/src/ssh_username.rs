//! SSH usernames of nodes.

use reeve_types::ssh_username::{SshUsername, SshUsernameFilter};
use reeve_types::{NodeId, Page, Paged, Result, Sort, SshUsernameId};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str =
    "u.id, u.node_id, u.username, CASE WHEN u.password_hash IS NULL THEN 0 ELSE 1 END, u.inserted_at, u.updated_at";
const FROM: &str = "ssh_usernames u";
const WITH_CLUSTER: &str = "ssh_usernames u JOIN nodes n ON n.id = u.node_id JOIN clusters c ON c.id = n.cluster_id";
const SORTABLE: &[(&str, &str)] =
    &[("username", "u.username"), ("inserted_at", "u.inserted_at"), ("updated_at", "u.updated_at")];

fn read(row: &mut Row) -> Result<SshUsername> {
    // A CASE is an INTEGER on PostgreSQL, which reads as any other.
    Ok(SshUsername {
        id: row.get()?,
        node_id: row.get()?,
        username: row.get()?,
        has_password: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// Stores a new username with the hash of its password.
///
/// # Errors
/// Unique violation of `ssh_usernames_node_id_username`.
pub async fn insert(tx: &mut Tx, username: &SshUsername, password_hash: Option<&str>) -> Result<()> {
    let sql = "INSERT INTO ssh_usernames (id, node_id, username, password_hash, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let u = username;
    tx.execute(sql, args![&u.id, &u.node_id, &u.username, password_hash, u.inserted_at, u.updated_at]).await?;
    Ok(())
}

/// The username with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &SshUsernameId) -> Result<Option<SshUsername>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE u.id = $1");
    tx.opt(&sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

/// As [`by_id`], and nobody else may change the row until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_id_for_update(tx: &mut Tx, id: &SshUsernameId) -> Result<Option<SshUsername>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE u.id = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

/// The username of exactly this name on this node, with the hash of its password.
///
/// # Errors
/// As the store.
pub async fn by_name(tx: &mut Tx, node: &NodeId, name: &str) -> Result<Option<(SshUsername, Option<String>)>> {
    let sql = format!("SELECT {COLUMNS}, u.password_hash FROM {FROM} WHERE u.node_id = $1 AND u.username = $2");
    tx.opt(&sql, args![node, name]).await?.map(|mut row| Ok((read(&mut row)?, row.get()?))).transpose()
}

/// A page of usernames.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &SshUsernameFilter, sorts: &[Sort], at: Page) -> Result<Paged<SshUsername>> {
    let mut w = Where::new();
    w.text("u.username", &filter.username);
    w.any_of("u.node_id", &filter.node_ids);
    w.text("c.name", &filter.cluster_name);
    w.present("u.password_hash", filter.has_password);
    w.range("u.inserted_at", &filter.inserted_at);
    w.range("u.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "u.inserted_at", "u.id");
    let from = if filter.cluster_name.is_some() { WITH_CLUSTER } else { FROM };
    let (rows, total) = page(tx, COLUMNS, from, from, w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(|mut row| read(&mut row)).collect::<Result<_>>()?, total, page: at })
}

/// Removes a username with its keys. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &SshUsernameId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM ssh_usernames WHERE id = $1", args![id]).await? == 1)
}
