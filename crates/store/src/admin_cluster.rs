//! Groups of servers, and which of them an edge cluster is assigned to.

use reeve_types::server::{AdminCluster, Share};
use reeve_types::{ClusterId, NodeId, Result, ServerId, Timestamp};

use crate::{Row, Tx, Value, args, dialect};

const COLUMNS: &str = "name, ipv4_range, degraded, total_nodes, total_capacity, computed_by, computed_at";

fn read(mut row: Row) -> Result<AdminCluster> {
    Ok(AdminCluster {
        name: row.get()?,
        ipv4_range: row.get()?,
        degraded: row.get()?,
        total_nodes: row.get()?,
        total_capacity: row.get()?,
        computed_by: row.get()?,
        computed_at: row.get()?,
    })
}

/// The group called `name`.
///
/// # Errors
/// As the store.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<AdminCluster>> {
    let sql = format!("SELECT {COLUMNS} FROM admin_clusters WHERE name = $1");
    tx.opt(&sql, args![name]).await?.map(read).transpose()
}

/// As [`by_name`], and nobody else computes its shares until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_name_for_update(tx: &mut Tx, name: &str) -> Result<Option<AdminCluster>> {
    let sql = format!("SELECT {COLUMNS} FROM admin_clusters WHERE name = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![name]).await?.map(read).transpose()
}

/// Every group, in order of name.
///
/// # Errors
/// As the store.
pub async fn all(tx: &mut Tx) -> Result<Vec<AdminCluster>> {
    let sql = format!("SELECT {COLUMNS} FROM admin_clusters ORDER BY name");
    tx.all(&sql, &[]).await?.into_iter().map(read).collect()
}

/// Stores a new group with its range, `first..=last` as numbers.
///
/// # Errors
/// Unique violation when there is one of that name.
pub async fn insert(tx: &mut Tx, name: &str, range: &str, (first, last): (i64, i64), now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO admin_clusters (name, ipv4_range, ipv4_first, ipv4_last, inserted_at)
        VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, args![name, range, first, last, now]).await?;
    Ok(())
}

/// Gives a group another range.
///
/// # Errors
/// As the store.
pub async fn set_range(tx: &mut Tx, name: &str, range: &str, (first, last): (i64, i64)) -> Result<()> {
    let sql = "UPDATE admin_clusters SET ipv4_range = $2, ipv4_first = $3, ipv4_last = $4 WHERE name = $1";
    tx.execute(sql, args![name, range, first, last]).await?;
    Ok(())
}

/// Writes down what a computation came to.
///
/// # Errors
/// As the store.
pub async fn set_computed(tx: &mut Tx, group: &AdminCluster) -> Result<()> {
    let sql = "UPDATE admin_clusters SET degraded = $2, total_nodes = $3, total_capacity = $4, computed_by = $5,
        computed_at = $6 WHERE name = $1";
    let g = group;
    let args = args![&g.name, g.degraded, g.total_nodes, g.total_capacity, g.computed_by.as_ref(), g.computed_at];
    tx.execute(sql, args).await?;
    Ok(())
}

/// An edge cluster as the computation sees it.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// The cluster.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: i64,
    /// The server it is assigned to so far.
    pub owner: Option<ServerId>,
    /// Whether there is a row for it, with an owner or without.
    pub known: bool,
}

/// Every edge cluster with its owner in the group.
///
/// # Errors
/// As the store.
pub async fn weighed(tx: &mut Tx, group: &str) -> Result<Vec<Weighed>> {
    let sql = "SELECT c.id, c.name, c.node_count, o.server_id, CASE WHEN o.cluster_id IS NULL THEN 0 ELSE 1 END
        FROM clusters c LEFT JOIN cluster_owners o ON o.cluster_id = c.id AND o.admin_cluster = $1 ORDER BY c.name";
    let rows = tx.all(sql, args![group]).await?;
    let read = |mut row: Row| {
        let (id, name, nodes, owner, known) = (row.get()?, row.get()?, row.get()?, row.get()?, row.get()?);
        Ok(Weighed { id, name, nodes, owner, known })
    };
    rows.into_iter().map(read).collect()
}

/// Assigns clusters; those that are gone meanwhile are left out by the caller's transaction.
///
/// # Errors
/// Foreign key violation when a cluster was deleted meanwhile.
pub async fn assign(tx: &mut Tx, group: &str, owners: &[(ClusterId, Option<ServerId>)], now: Timestamp) -> Result<()> {
    let rows: Vec<Vec<Value<'_>>> = owners
        .iter()
        .map(|(cluster, server)| vec![group.into(), cluster.into(), server.as_ref().into(), now.into()])
        .collect();
    let tail = "ON CONFLICT (admin_cluster, cluster_id)
        DO UPDATE SET server_id = excluded.server_id, since = excluded.since";
    tx.insert_many("cluster_owners (admin_cluster, cluster_id, server_id, since)", &rows, tail).await?;
    Ok(())
}

/// Every assigned or orphaned cluster of the group, in order of name.
///
/// # Errors
/// As the store.
pub async fn shares(tx: &mut Tx, group: &str) -> Result<Vec<Share>> {
    let sql = "SELECT c.name, o.server_id FROM cluster_owners o JOIN clusters c ON c.id = o.cluster_id
        WHERE o.admin_cluster = $1 ORDER BY c.name";
    let rows = tx.all(sql, args![group]).await?;
    rows.into_iter().map(|mut row| Ok(Share { cluster: row.get()?, server: row.get()? })).collect()
}

/// Names of clusters with the ids of their nodes, at most `per_cluster` of each: those of the group's orphans, or of the
/// others.
///
/// # Errors
/// As the store.
pub async fn nodes(tx: &mut Tx, group: &str, orphans: bool, per_cluster: i64) -> Result<Vec<(String, NodeId)>> {
    let which = if orphans { "IS NULL" } else { "IS NOT NULL" };
    let sql = format!(
        "SELECT name, id FROM (
           SELECT c.name, n.id, row_number() OVER (PARTITION BY n.cluster_id ORDER BY n.id) AS place
           FROM cluster_owners o JOIN clusters c ON c.id = o.cluster_id JOIN nodes n ON n.cluster_id = c.id
           WHERE o.admin_cluster = $1 AND o.server_id {which}) AS numbered
         WHERE place <= $2 ORDER BY name, place"
    );
    let rows = tx.all(&sql, args![group, per_cluster]).await?;
    rows.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// The range of a group that shares an address with `first..=last`, besides that of `except`.
///
/// # Errors
/// As the store.
pub async fn overlapping(tx: &mut Tx, except: &str, first: i64, last: i64) -> Result<Option<String>> {
    let sql = "SELECT ipv4_range FROM admin_clusters
        WHERE name <> $1 AND ipv4_first <= $3 AND ipv4_last >= $2 ORDER BY ipv4_first LIMIT 1";
    tx.opt(sql, args![except, first, last]).await?.map(|mut row| row.get()).transpose()
}

/// Ranges of the groups that touch `first..=last`, as numbers in ascending order.
///
/// # Errors
/// As the store.
pub async fn ranges_within(tx: &mut Tx, first: i64, last: i64) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT ipv4_first, ipv4_last FROM admin_clusters
        WHERE ipv4_first <= $2 AND ipv4_last >= $1 ORDER BY ipv4_first";
    let rows = tx.all(sql, args![first, last]).await?;
    rows.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}
