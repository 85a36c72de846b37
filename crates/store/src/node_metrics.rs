//! The newest sample of each node.

use reeve_types::node::{Node, NodeFilter};
use reeve_types::node_metrics::{Figures, Reading, Sample};
use reeve_types::{Error, NodeId, Page, Paged, Result, Sort, Timestamp};

use crate::filter::{Order, Where, page};
use crate::{Row, Tx, Value, args, dialect, node};

const COLUMNS: &str = "node_id, taken_at, load, cpu, memory, disk, network, uptime, sample";

/// What lists can be sorted by.
const SORTABLE: &[(&str, &str)] = &[
    ("load_1m", "m.load"),
    ("cpu_usage_percent", "m.cpu"),
    ("memory_usage_percent", "m.memory"),
    ("disk_usage_percent", "m.disk"),
    ("network_bytes_per_second", "m.network"),
    ("uptime_seconds", "m.uptime"),
    ("timestamp", "m.taken_at"),
    ("cluster_name", "c.name"),
];

/// Replaces the samples of these nodes, unless there are newer ones. Those of nodes that are gone are left out.
///
/// # Errors
/// As the store.
pub async fn put(tx: &mut Tx, samples: &[(NodeId, Timestamp, Sample)]) -> Result<u64> {
    let ids: Vec<&str> = samples.iter().map(|(id, _, _)| id.as_str()).collect();
    let ids = dialect::json_text(&ids)?;
    let sql = format!("SELECT id FROM nodes WHERE id IN ({})", dialect::json_texts(tx, "$1"));
    let known = tx.all(&sql, args![ids]).await?.into_iter().map(|mut row| row.get::<String>());
    let known = known.collect::<Result<std::collections::HashSet<_>>>()?;
    let mut rows = Vec::with_capacity(known.len());
    for (id, at, sample) in samples.iter().filter(|(id, _, _)| known.contains(id.as_str())) {
        let f = Figures::of(sample);
        let json = serde_json::to_string(sample).map_err(Error::internal)?;
        rows.push(vec![
            Value::from(id),
            (*at).into(),
            f.load.into(),
            f.cpu.into(),
            f.memory.into(),
            f.disk.into(),
            f.network.into(),
            f.uptime.into(),
            json.into(),
        ]);
    }
    let replace = "ON CONFLICT (node_id) DO UPDATE SET taken_at = excluded.taken_at, load = excluded.load,
        cpu = excluded.cpu, memory = excluded.memory, disk = excluded.disk, network = excluded.network,
        uptime = excluded.uptime, sample = excluded.sample WHERE node_metrics.taken_at <= excluded.taken_at";
    tx.insert_many(&format!("node_metrics ({COLUMNS})"), &rows, replace).await
}

/// The sample of a node, with the node's cluster; the inner None when it has none. None for an unknown node.
///
/// # Errors
/// As the store.
pub async fn of_node(tx: &mut Tx, id: &NodeId) -> Result<Option<(String, Option<Reading>)>> {
    let sql = "SELECT c.name, m.taken_at, m.sample FROM nodes n JOIN clusters c ON c.id = n.cluster_id
        LEFT JOIN node_metrics m ON m.node_id = n.id WHERE n.id = $1";
    let Some(mut row) = tx.opt(sql, args![id]).await? else { return Ok(None) };
    let (cluster_name, taken_at, json): (String, Option<Timestamp>, Option<String>) =
        (row.get()?, row.get()?, row.get()?);
    let Some((taken_at, json)) = taken_at.zip(json) else { return Ok(Some((cluster_name, None))) };
    let sample = serde_json::from_str(&json).map_err(Error::internal)?;
    let reading = Reading { node_id: id.clone(), cluster_name: cluster_name.clone(), taken_at, sample };
    Ok(Some((cluster_name, Some(reading))))
}

/// A page of nodes with a sample that is not older than `since`. Numbers that are not known come last in either
/// direction; without an order that is known the highest load comes first.
///
/// # Errors
/// As the store.
pub async fn list(
    tx: &mut Tx,
    filter: &NodeFilter,
    since: Timestamp,
    sorts: &[Sort],
    asked: Page,
) -> Result<Paged<(Node, Timestamp, Sample)>> {
    let mut w = Where::new();
    let oldest = w.arg(since);
    w.raw(format!("m.taken_at >= {oldest}"));
    node::conditions_of(&mut w, filter);
    let from = format!("{} JOIN node_metrics m ON m.node_id = n.id", node::FROM);
    let columns = format!("{}, m.taken_at, m.sample", node::COLUMNS);
    let (rows, total) = page(tx, &columns, &from, &from, w, &order(sorts), asked).await?;
    let read = |mut row: Row| {
        let node = node::read(&mut row)?;
        let (taken_at, json) = (row.get()?, row.get::<String>()?);
        Ok((node, taken_at, serde_json::from_str(&json).map_err(Error::internal)?))
    };
    let items = rows.into_iter().map(read).collect::<Result<_>>()?;
    Ok(Paged { items, total, page: asked })
}

/// Brings the rows of one page into the order of `sorts` again, by their samples. Orders by what is no number stay.
pub fn sort_again<T>(rows: &mut [T], sorts: &[Sort], sample: impl Fn(&T) -> &Sample) {
    let known = |sort: &&Sort| SORTABLE.iter().any(|(name, _)| *name == sort.field);
    let first = sorts.iter().find(known);
    let (field, descending) = first.map_or(("load_1m", true), |sort| (sort.field.as_str(), sort.descending));
    let figure = |row: &T| {
        let f = Figures::of(sample(row));
        match field {
            "load_1m" => f.load,
            "cpu_usage_percent" => f.cpu,
            "memory_usage_percent" => f.memory,
            "disk_usage_percent" => f.disk,
            "network_bytes_per_second" => f.network,
            "uptime_seconds" => f.uptime,
            _ => None,
        }
    };
    rows.sort_by_key(|row| {
        let figure = figure(row);
        (figure.is_none(), figure.map(|n| if descending { -n } else { n }))
    });
}

fn order(sorts: &[Sort]) -> Order {
    let known = |sort: &Sort| Some((SORTABLE.iter().find(|(name, _)| *name == sort.field)?.1, sort.descending));
    let mut keys: Vec<(&str, bool)> = sorts.iter().filter_map(known).collect();
    if keys.is_empty() {
        keys.push(("m.load", true));
    }
    let sorted =
        |order: Order, (column, descending)| order.then(&format!("({column} IS NULL)"), false).then(column, descending);
    keys.into_iter().fold(Order::default(), sorted).then("n.id", false)
}

/// Nodes that can be asked for metrics, with their clusters, in order of their ids from after `after` on: those that are
/// in touch.
///
/// # Errors
/// As the store.
pub async fn targets_after(tx: &mut Tx, after: &str, most: i64) -> Result<Vec<(NodeId, String)>> {
    let sql = "SELECT n.id, c.name FROM nodes n JOIN clusters c ON c.id = n.cluster_id
        WHERE n.id > $1 AND n.status IN ('healthy', 'unhealthy') ORDER BY n.id LIMIT $2";
    let rows = tx.all(sql, args![after, most]).await?;
    rows.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}
