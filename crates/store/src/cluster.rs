//! Edge clusters.

use reeve_types::cluster::{Cluster, ClusterFilter};
use reeve_types::{ClusterId, Page, Paged, Result, Sort, Timestamp};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "c.id, c.name, c.ipv4_range, c.node_limit, c.node_count, c.inserted_at, c.updated_at";
const SORTABLE: &[(&str, &str)] = &[
    ("name", "c.name"),
    ("ipv4_range", "c.ipv4_range"),
    ("node_limit", "c.node_limit"),
    ("inserted_at", "c.inserted_at"),
    ("updated_at", "c.updated_at"),
];

fn read(mut row: Row) -> Result<Cluster> {
    Ok(Cluster {
        id: row.get()?,
        name: row.get()?,
        ipv4_range: row.get()?,
        node_limit: row.get()?,
        node_count: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// Stores a new cluster whose range spans the addresses `first..=last`, as numbers.
///
/// # Errors
/// Unique violation of `clusters_name` or `clusters_ipv4_range`.
pub async fn insert(tx: &mut Tx, cluster: &Cluster, first: i64, last: i64) -> Result<()> {
    let sql = "INSERT INTO clusters (id, name, ipv4_range, ipv4_first, ipv4_last, node_limit, node_count, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)";
    let c = cluster;
    tx.execute(sql, args![&c.id, &c.name, &c.ipv4_range, first, last, c.node_limit, c.inserted_at, c.updated_at])
        .await?;
    Ok(())
}

/// The cluster called `name`.
///
/// # Errors
/// As the store.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<Cluster>> {
    let sql = format!("SELECT {COLUMNS} FROM clusters c WHERE c.name = $1");
    tx.opt(&sql, args![name]).await?.map(read).transpose()
}

/// As [`by_name`], and nobody else may change the row until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_name_for_update(tx: &mut Tx, name: &str) -> Result<Option<Cluster>> {
    let sql = format!("SELECT {COLUMNS} FROM clusters c WHERE c.name = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![name]).await?.map(read).transpose()
}

/// The cluster with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &ClusterId) -> Result<Option<Cluster>> {
    let sql = format!("SELECT {COLUMNS} FROM clusters c WHERE c.id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of clusters.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &ClusterFilter, sorts: &[Sort], at: Page) -> Result<Paged<Cluster>> {
    let mut conditions = Where::new();
    conditions_of(&mut conditions, filter);
    let order = order_by(sorts, SORTABLE, "c.inserted_at", "c.id");
    let (rows, total) = page(tx, COLUMNS, "clusters c", "clusters c", conditions, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Adds the conditions of `filter` on the table called `c`.
pub(crate) fn conditions_of<'a>(conditions: &mut Where<'a>, filter: &'a ClusterFilter) {
    conditions.text("c.name", &filter.name);
    conditions.text("c.ipv4_range", &filter.ipv4_range);
    conditions.present("c.node_limit", filter.has_node_limit);
    conditions.range("c.node_limit", &filter.node_limit);
    conditions.range("c.node_count", &filter.node_count);
    conditions.range("c.inserted_at", &filter.inserted_at);
    conditions.range("c.updated_at", &filter.updated_at);
}

/// Sets the limit. False when the cluster is gone.
///
/// # Errors
/// As the store.
pub async fn set_node_limit(tx: &mut Tx, id: &ClusterId, limit: Option<i64>, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE clusters SET node_limit = $2, updated_at = $3 WHERE id = $1";
    Ok(tx.execute(sql, args![id, limit, now]).await? == 1)
}

/// Takes one place in the cluster. False when it is full.
///
/// # Errors
/// As the store.
pub async fn take_place(tx: &mut Tx, id: &ClusterId) -> Result<bool> {
    let sql = "UPDATE clusters SET node_count = node_count + 1 WHERE id = $1 AND (node_limit IS NULL OR node_count < node_limit)";
    Ok(tx.execute(sql, args![id]).await? == 1)
}

/// Gives one place back.
///
/// # Errors
/// As the store.
pub async fn free_place(tx: &mut Tx, id: &ClusterId) -> Result<()> {
    tx.execute("UPDATE clusters SET node_count = node_count - 1 WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Removes an empty cluster with its keys. False when it has nodes or is gone.
///
/// # Errors
/// As the store.
pub async fn delete_empty(tx: &mut Tx, id: &ClusterId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM clusters WHERE id = $1 AND node_count = 0", args![id]).await? == 1)
}

/// The range of a cluster that shares an address with `first..=last`.
///
/// # Errors
/// As the store.
pub async fn overlapping(tx: &mut Tx, first: i64, last: i64) -> Result<Option<String>> {
    let sql = "SELECT ipv4_range FROM clusters WHERE ipv4_first <= $2 AND ipv4_last >= $1 ORDER BY ipv4_first LIMIT 1";
    tx.opt(sql, args![first, last]).await?.map(|mut row| row.get()).transpose()
}

/// Every taken range that touches `first..=last`, as numbers in ascending order.
///
/// # Errors
/// As the store.
pub async fn ranges_within(tx: &mut Tx, first: i64, last: i64) -> Result<Vec<(i64, i64)>> {
    let sql =
        "SELECT ipv4_first, ipv4_last FROM clusters WHERE ipv4_first <= $2 AND ipv4_last >= $1 ORDER BY ipv4_first";
    let rows = tx.all(sql, args![first, last]).await?;
    rows.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// All clusters, counted.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM clusters", &[]).await?.get()
}
