//! Aliases of nodes.

use reeve_types::alias::{Alias, AliasFilter};
use reeve_types::{AliasId, NodeId, Page, Paged, Result, Sort};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, args};

const COLUMNS: &str = "a.id, a.node_id, a.cluster_id, c.name, a.name, a.inserted_at, a.updated_at";
const FROM: &str = "aliases a JOIN clusters c ON c.id = a.cluster_id";
const SORTABLE: &[(&str, &str)] =
    &[("name", "a.name"), ("inserted_at", "a.inserted_at"), ("updated_at", "a.updated_at")];

fn read(mut row: Row) -> Result<Alias> {
    Ok(Alias {
        id: row.get()?,
        node_id: row.get()?,
        cluster_id: row.get()?,
        cluster_name: row.get()?,
        name: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// Stores a new alias.
///
/// # Errors
/// Unique violation of `aliases_cluster_id_name`.
pub async fn insert(tx: &mut Tx, alias: &Alias) -> Result<()> {
    let sql =
        "INSERT INTO aliases (id, node_id, cluster_id, name, inserted_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let a = alias;
    tx.execute(sql, args![&a.id, &a.node_id, &a.cluster_id, &a.name, a.inserted_at, a.updated_at]).await?;
    Ok(())
}

/// The alias with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &AliasId) -> Result<Option<Alias>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE a.id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of aliases.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &AliasFilter, sorts: &[Sort], at: Page) -> Result<Paged<Alias>> {
    let mut w = Where::new();
    w.text("a.name", &filter.name);
    w.any_of("a.node_id", &filter.node_ids);
    w.text("c.name", &filter.cluster_name);
    w.range("a.inserted_at", &filter.inserted_at);
    w.range("a.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "a.inserted_at", "a.id");
    let (rows, total) = page(tx, COLUMNS, FROM, FROM, w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// The names of these nodes, in order of the names.
///
/// # Errors
/// As the store.
pub async fn of_nodes(tx: &mut Tx, nodes: &[NodeId]) -> Result<Vec<(NodeId, String)>> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let mut w = Where::new();
    w.any_of("node_id", nodes);
    let sql = format!("SELECT node_id, name FROM aliases{} ORDER BY node_id, name", w.sql());
    tx.all(&sql, w.args()).await?.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Removes an alias. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &AliasId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM aliases WHERE id = $1", args![id]).await? == 1)
}

/// Removes every alias of a node and gives their names.
///
/// # Errors
/// As the store.
pub async fn delete_of_node(tx: &mut Tx, node: &NodeId) -> Result<Vec<String>> {
    let sql = "DELETE FROM aliases WHERE node_id = $1 RETURNING name";
    tx.all(sql, args![node]).await?.into_iter().map(|mut row| row.get()).collect()
}
