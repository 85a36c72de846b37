//! Nodes and their labels.

use std::collections::BTreeMap;

use reeve_types::node::{Node, NodeFilter, NodePorts, NodeSecrets, NodeStatus, NodeSummary};
use reeve_types::selector::{Requirement, Selector};
use reeve_types::{ClusterId, Error, NodeId, Page, Paged, Result, ServerId, Sort, TextMatch, Timestamp};

use crate::filter::{FEW, Where, count_of, order_by, page_of};
use crate::{Row, Tx, Value, args, dialect};

pub(crate) const COLUMNS: &str = "n.id, n.cluster_id, c.name, n.id_type, n.status, n.version, n.http_port, n.ssh_port, \
    n.host_metrics_port, n.wireguard_metrics_port, n.http_proxy_port, n.socks5_proxy_port, n.self_update_enabled, \
    n.last_seen_at, n.connected_server, n.public_key, n.facts, n.labels, n.inserted_at, n.updated_at";
pub(crate) const FROM: &str = "nodes n JOIN clusters c ON c.id = n.cluster_id";
const SORTABLE: &[(&str, &str)] = &[
    ("id_type", "n.id_type"),
    ("status", "n.status"),
    ("version", "n.version"),
    ("self_update_enabled", "n.self_update_enabled"),
    ("last_seen_at", "n.last_seen_at"),
    ("inserted_at", "n.inserted_at"),
    ("updated_at", "n.updated_at"),
];

pub(crate) fn read(row: &mut Row) -> Result<Node> {
    let node = Node {
        id: row.get()?,
        cluster_id: row.get()?,
        cluster_name: row.get()?,
        id_type: row.get()?,
        status: row.get()?,
        version: row.get()?,
        ports: NodePorts {
            http: row.get()?,
            ssh: row.get()?,
            host_metrics: row.get()?,
            wireguard_metrics: row.get()?,
            http_proxy: row.get()?,
            socks5_proxy: row.get()?,
        },
        self_update_enabled: row.get()?,
        last_seen_at: row.get()?,
        connected_server: row.get()?,
        public_key: row.get()?,
        facts: row.get()?,
        labels: labels_from(&row.get::<String>()?)?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
    };
    Ok(node)
}

fn labels_from(json: &str) -> Result<BTreeMap<String, String>> {
    serde_json::from_str(json).map_err(Error::internal)
}

/// Stores a new node.
///
/// # Errors
/// Unique violation when the id is taken.
pub async fn insert(tx: &mut Tx, node: &Node, secrets: &NodeSecrets, token_hash: &str) -> Result<()> {
    let sql = "INSERT INTO nodes (id, cluster_id, id_type, status, version, http_port, ssh_port, host_metrics_port,
        wireguard_metrics_port, http_proxy_port, socks5_proxy_port, self_update_enabled, last_seen_at, public_key,
        api_token_sealed, api_token_hash, proxy_password_sealed, facts, inserted_at, updated_at)
        VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)";
    let secrets = args![&secrets.api_token, token_hash, &secrets.proxy_password];
    let (whose, times) = (args![&node.id, &node.cluster_id, node.id_type], args![node.inserted_at, node.updated_at]);
    let parts = [whose, &told(node), args![&node.public_key], secrets, args![node.facts.as_deref()], times];
    tx.execute(sql, &parts.concat()).await?;
    Ok(())
}

/// What a node tells of itself, in the order in which every statement lists it: `status` to `last_seen_at`.
fn told(node: &Node) -> [Value<'_>; 10] {
    let ports = &node.ports;
    [
        node.status.into(),
        node.version.as_deref().into(),
        ports.http.into(),
        ports.ssh.into(),
        ports.host_metrics.into(),
        ports.wireguard_metrics.into(),
        ports.http_proxy.into(),
        ports.socks5_proxy.into(),
        node.self_update_enabled.into(),
        node.last_seen_at.into(),
    ]
}

/// Writes what a node tells of itself when it registers again, with fresh secrets.
///
/// # Errors
/// As the store.
pub async fn reregister(tx: &mut Tx, node: &Node, secrets: &NodeSecrets, token_hash: &str) -> Result<()> {
    let sql =
        "UPDATE nodes SET cluster_id = $2, id_type = $3, status = $4, version = $5, http_port = $6, ssh_port = $7,
        host_metrics_port = $8, wireguard_metrics_port = $9, http_proxy_port = $10, socks5_proxy_port = $11,
        self_update_enabled = $12, last_seen_at = $13, api_token_sealed = $14, api_token_hash = $15,
        proxy_password_sealed = $16, facts = $17, updated_at = $18 WHERE id = $1";
    let secrets = args![&secrets.api_token, token_hash, &secrets.proxy_password];
    let rest = args![node.facts.as_deref(), node.updated_at];
    let parts = [args![&node.id, &node.cluster_id, node.id_type], &told(node), secrets, rest];
    tx.execute(sql, &parts.concat()).await?;
    Ok(())
}

/// Writes what a node tells of itself when it connects, in the epoch `epoch` of the server that it connects to. False when
/// the node is gone, or has a later connection than its `session`-th; 0 does not say which one it is.
///
/// # Errors
/// As the store.
pub async fn set_machine(tx: &mut Tx, node: &Node, epoch: i64, session: i64) -> Result<bool> {
    let sql = "UPDATE nodes SET status = $2, version = $3, http_port = $4, ssh_port = $5, host_metrics_port = $6,
        wireguard_metrics_port = $7, http_proxy_port = $8, socks5_proxy_port = $9, self_update_enabled = $10,
        last_seen_at = $11, connected_server = $12, facts = $13, updated_at = $14, connected_epoch = $15, connected_session = $16
        WHERE id = $1 AND (connected_session <= $16 OR $16 = 0 OR connected_server IS NULL)";
    let connection = args![node.connected_server.as_ref(), node.facts.as_deref(), node.updated_at, epoch, session];
    Ok(tx.execute(sql, &[args![&node.id], &told(node), connection].concat()).await? == 1)
}

/// The node with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &NodeId) -> Result<Option<Node>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE n.id = $1");
    tx.opt(&sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

/// As [`by_id`], and nobody else may change the row until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn by_id_for_update(tx: &mut Tx, id: &NodeId) -> Result<Option<Node>> {
    let lock = if dialect::for_update(tx).is_empty() { "" } else { " FOR UPDATE OF n" };
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE n.id = $1{lock}");
    tx.opt(&sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
}

/// The node with its sealed secrets.
///
/// # Errors
/// As the store.
pub async fn with_secrets(tx: &mut Tx, id: &NodeId) -> Result<Option<(Node, NodeSecrets)>> {
    let sql = format!("SELECT {COLUMNS}, n.api_token_sealed, n.proxy_password_sealed FROM {FROM} WHERE n.id = $1");
    tx.opt(&sql, args![id]).await?.map(read_with_secrets).transpose()
}

fn read_with_secrets(mut row: Row) -> Result<(Node, NodeSecrets)> {
    Ok((read(&mut row)?, NodeSecrets { api_token: row.get()?, proxy_password: row.get()? }))
}

/// A page of nodes with their sealed secrets.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &NodeFilter, sorts: &[Sort], at: Page) -> Result<Paged<(Node, NodeSecrets)>> {
    let order = order_by(sorts, SORTABLE, "n.inserted_at", "n.id");
    let columns = format!("{COLUMNS}, n.api_token_sealed, n.proxy_password_sealed");
    // The join is only needed for counting when the cluster's name is asked about.
    let pick_from = if filter.cluster_name.is_some() { FROM } else { "nodes n" };
    let version = known_versions(tx, &filter.version).await?;
    let rest = NodeFilter { version: None, ..filter.clone() };
    let conditions = |version_column: &str| {
        let mut w = Where::new();
        // As the indexes for lists have it, word by word.
        w.raw("n.id <> ''");
        conditions_of(&mut w, &rest);
        w.text(version_column, &version);
        w
    };
    let total = count_of(tx, pick_from, &conditions("n.version")).await?;
    // An index on the version has another order: many rows are sooner taken as the list has them.
    let picking = conditions(if total <= FEW { "n.version" } else { "(n.version || '')" });
    let rows = page_of(tx, &columns, FROM, pick_from, picking, &order, at, total).await?;
    Ok(Paged { items: rows.into_iter().map(read_with_secrets).collect::<Result<_>>()?, total: total as u64, page: at })
}

/// The versions that a wildcard means, so that it is not held against every node: a fleet has few. As it came when it is no
/// wildcard or means more than a hundred.
async fn known_versions(tx: &mut Tx, version: &Option<TextMatch>) -> Result<Option<TextMatch>> {
    const MOST: usize = 100;
    if !matches!(version, Some(TextMatch::Wildcard(_))) {
        return Ok(version.clone());
    }
    let mut w = Where::new();
    w.raw("version IS NOT NULL");
    w.text("version", version);
    // From each version to the next in the index, passing over the nodes between them.
    let sql = format!(
        "WITH RECURSIVE known(version) AS (
           SELECT min(version) FROM nodes WHERE id <> ''
           UNION ALL
           SELECT (SELECT min(n.version) FROM nodes n WHERE n.version > known.version AND n.id <> '') FROM known
             WHERE known.version IS NOT NULL)
         SELECT version FROM known{} LIMIT {}",
        w.sql(),
        MOST + 1
    );
    let rows = tx.all(&sql, w.args()).await?;
    if rows.len() > MOST {
        return Ok(version.clone());
    }
    Ok(Some(TextMatch::AnyOf(rows.into_iter().map(|mut row| row.get()).collect::<Result<_>>()?)))
}

/// Adds the conditions of `filter` on the tables called `n` and `c`.
pub(crate) fn conditions_of<'a>(w: &mut Where<'a>, filter: &'a NodeFilter) {
    w.text("c.name", &filter.cluster_name);
    w.eq("n.id_type", filter.id_type);
    w.any_of("n.status", filter.status.iter().copied());
    w.text("n.version", &filter.version);
    w.eq("n.self_update_enabled", filter.self_update_enabled);
    w.present("n.connected_server", filter.connected);
    w.range("n.last_seen_at", &filter.last_seen_at);
    w.range("n.inserted_at", &filter.inserted_at);
    w.range("n.updated_at", &filter.updated_at);
    if let Some(selector) = &filter.labels {
        selector_conditions(w, selector);
    }
}

/// Adds the conditions of `selector` on the table called `n`.
pub(crate) fn selector_conditions<'a>(w: &mut Where<'a>, selector: &'a Selector) {
    for requirement in &selector.0 {
        let (negated, key, values) = match requirement {
            Requirement::In(key, values) => (false, key, Some(values)),
            Requirement::NotIn(key, values) => (true, key, Some(values)),
            Requirement::Exists(key) => (false, key, None),
            Requirement::Absent(key) => (true, key, None),
        };
        let key = w.arg(key);
        let among = match values {
            Some(values) => {
                let placeholders: Vec<String> = values.iter().map(|v| w.arg(v)).collect();
                format!(" AND l.value IN ({})", placeholders.join(","))
            }
            None => String::new(),
        };
        let not = if negated { "NOT " } else { "" };
        w.raw(format!("{not}EXISTS (SELECT 1 FROM node_labels l WHERE l.node_id = n.id AND l.key = {key}{among})"));
    }
}

/// Short forms of the nodes of these clusters, at most `per_cluster` each, in order of registration.
///
/// # Errors
/// As the store.
pub async fn summaries(tx: &mut Tx, clusters: &[ClusterId], per_cluster: i64) -> Result<Vec<NodeSummary>> {
    let read = |mut r: Row| Ok(NodeSummary { id: r.get()?, cluster_id: r.get()?, id_type: r.get()?, status: r.get()? });
    if clusters.is_empty() {
        return Ok(Vec::new());
    }
    if let [one] = clusters {
        let sql = "SELECT id, cluster_id, id_type, status FROM nodes WHERE cluster_id = $1 ORDER BY id LIMIT $2";
        return tx.all(sql, args![one, per_cluster]).await?.into_iter().map(read).collect();
    }
    let mut w = Where::new();
    w.any_of("c.id", clusters);
    let conditions = w.sql();
    let most = w.arg(per_cluster);
    // Up to the last one that is shown: numbering the nodes of a cluster would read all of them.
    let sql = format!(
        "SELECT n.id, n.cluster_id, n.id_type, n.status FROM clusters c JOIN nodes n ON n.cluster_id = c.id{conditions}
           AND n.id <= (SELECT max(m.id) FROM
             (SELECT o.id FROM nodes o WHERE o.cluster_id = c.id ORDER BY o.id LIMIT {most}) AS m)
         ORDER BY n.cluster_id, n.id"
    );
    tx.all(&sql, w.args()).await?.into_iter().map(read).collect()
}

/// Moves a node to another cluster. False when it is not in `from` any more.
///
/// # Errors
/// As the store.
pub async fn set_cluster(tx: &mut Tx, id: &NodeId, from: &ClusterId, to: &ClusterId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE nodes SET cluster_id = $3, updated_at = $4 WHERE id = $1 AND cluster_id = $2";
    Ok(tx.execute(sql, args![id, from, to, now]).await? == 1)
}

/// Replaces a node's labels.
///
/// # Errors
/// As the store.
pub async fn set_labels(tx: &mut Tx, id: &NodeId, labels: &BTreeMap<String, String>, now: Timestamp) -> Result<bool> {
    let json = serde_json::to_string(labels).map_err(Error::internal)?;
    let sql = "UPDATE nodes SET labels = $2, updated_at = $3 WHERE id = $1";
    if tx.execute(sql, args![id, json, now]).await? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM node_labels WHERE node_id = $1", args![id]).await?;
    let rows: Vec<Vec<Value<'_>>> = labels.iter().map(|(k, v)| vec![id.into(), k.into(), v.into()]).collect();
    tx.insert_many("node_labels (node_id, key, value)", &rows, "").await?;
    Ok(true)
}

/// Removes a node. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &NodeId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM nodes WHERE id = $1", args![id]).await? == 1)
}

/// A connection as a node's row has it.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The server.
    pub server: &'a ServerId,
    /// Its epoch.
    pub epoch: i64,
}

/// Notes contact at `now` with these nodes, as far as the holder has their connections. Gives those that are told to
/// have no connection at all.
///
/// # Errors
/// As the store.
pub async fn seen(tx: &mut Tx, ids: &[NodeId], holder: Holder<'_>, now: Timestamp) -> Result<Vec<NodeId>> {
    let mut lost = Vec::new();
    for chunk in ids.chunks(500) {
        let mut w = Where::new();
        let at = w.arg(now);
        w.any_of("id", chunk);
        w.eq("connected_server", Some(holder.server));
        w.eq("connected_epoch", Some(holder.epoch));
        let sql = format!("UPDATE nodes SET last_seen_at = {at}{}", w.sql());
        if tx.execute(&sql, w.args()).await? < chunk.len() as u64 {
            let mut w = Where::new();
            w.any_of("id", chunk);
            w.raw("connected_server IS NULL");
            for mut row in tx.all(&format!("SELECT id FROM nodes{}", w.sql()), w.args()).await? {
                lost.push(row.get()?);
            }
        }
    }
    Ok(lost)
}

/// Those of these nodes that are held to be unreachable although the holder has their connections.
///
/// # Errors
/// As the store.
pub async fn unreachable_among(tx: &mut Tx, ids: &[NodeId], holder: Holder<'_>) -> Result<Vec<NodeId>> {
    let mut found = Vec::new();
    for chunk in ids.chunks(500) {
        let mut w = Where::new();
        w.any_of("id", chunk);
        w.eq("connected_server", Some(holder.server));
        w.eq("connected_epoch", Some(holder.epoch));
        w.raw("status = 'unreachable'");
        for mut row in tx.all(&format!("SELECT id FROM nodes{}", w.sql()), w.args()).await? {
            found.push(row.get()?);
        }
    }
    Ok(found)
}

/// Takes the connection of a node that has none. False when it has.
///
/// # Errors
/// As the store.
pub async fn claim(tx: &mut Tx, id: &NodeId, holder: Holder<'_>, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE nodes SET connected_server = $2, connected_epoch = $3, last_seen_at = $4
        WHERE id = $1 AND connected_server IS NULL";
    Ok(tx.execute(sql, args![id, holder.server, holder.epoch, now]).await? == 1)
}

/// The servers that hold the connections of these nodes; nodes without one are left out.
///
/// # Errors
/// As the store.
pub async fn holders(tx: &mut Tx, ids: &[NodeId]) -> Result<Vec<(NodeId, ServerId)>> {
    let mut found = Vec::new();
    for chunk in ids.chunks(500) {
        let mut w = Where::new();
        w.any_of("id", chunk);
        w.raw("connected_server IS NOT NULL");
        for mut row in tx.all(&format!("SELECT id, connected_server FROM nodes{}", w.sql()), w.args()).await? {
            found.push((row.get()?, row.get()?));
        }
    }
    Ok(found)
}

/// Sets a node's status where it differs, and gives the one before.
///
/// # Errors
/// As the store.
pub async fn set_status(tx: &mut Tx, id: &NodeId, status: NodeStatus, now: Timestamp) -> Result<Option<NodeStatus>> {
    let before = tx.opt("SELECT status FROM nodes WHERE id = $1", args![id]).await?;
    let Some(before) = before.map(|mut row| row.get::<NodeStatus>()).transpose()? else { return Ok(None) };
    let sql = "UPDATE nodes SET status = $2, updated_at = $3 WHERE id = $1 AND status = $4";
    let changed = tx.execute(sql, args![id, status, now, before]).await?;
    Ok((changed == 1 && before != status).then_some(before))
}

/// Clears the connection of a node, if it still is the holder's.
///
/// # Errors
/// As the store.
pub async fn clear_connection(tx: &mut Tx, id: &NodeId, holder: Holder<'_>, now: Timestamp) -> Result<()> {
    let sql = "UPDATE nodes SET connected_server = NULL, last_seen_at = $4
        WHERE id = $1 AND connected_server = $2 AND connected_epoch = $3";
    tx.execute(sql, args![id, holder.server, holder.epoch, now]).await?;
    Ok(())
}

/// Clears every connection that `server` had in other epochs than `epoch`.
///
/// # Errors
/// As the store.
pub async fn clear_connections_of(tx: &mut Tx, server: &ServerId, epoch: i64) -> Result<u64> {
    let sql = "UPDATE nodes SET connected_server = NULL WHERE connected_server = $1 AND connected_epoch <> $2";
    tx.execute(sql, args![server, epoch]).await
}

/// Clears every connection whose server is no member in that epoch. Says how many.
///
/// # Errors
/// As the store.
pub async fn clear_stale_connections(tx: &mut Tx) -> Result<u64> {
    let sql = "UPDATE nodes SET connected_server = NULL WHERE connected_server IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM servers s WHERE s.id = nodes.connected_server AND s.epoch = nodes.connected_epoch
          AND s.state = 'member')";
    tx.execute(sql, &[]).await
}

/// Nodes that are not unreachable, have no connection and were last seen before `before`; at most `most`.
///
/// # Errors
/// As the store.
pub async fn silent_since(tx: &mut Tx, before: Timestamp, most: i64) -> Result<Vec<Node>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE n.status <> 'unreachable'
           AND (n.last_seen_at IS NULL OR n.last_seen_at < $1) ORDER BY n.last_seen_at LIMIT $2"
    );
    tx.all(&sql, args![before, most]).await?.iter_mut().map(read).collect()
}

/// All nodes, counted.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM nodes", &[]).await?.get()
}
