//! Hosts.

use std::collections::HashMap;

use reeve_types::host::{Host, HostFilter, HostState};
use reeve_types::{Error, HostId, NodeId, Result, Timestamp, WorkspaceId};

use crate::filter::Where;
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "id, handle, workspace_id, hostname, provider, plan, zone, image, address, ssh_port, ssh_user, \
    host_key, ssh_key_sealed, state, problem, cloud_ref, operation_tag, tags, labels, delete_lock, node_id, inserted_at, \
    updated_at";

fn read(mut r: Row) -> Result<Host> {
    Ok(Host {
        id: r.get()?,
        handle: r.get()?,
        workspace_id: r.get()?,
        hostname: r.get()?,
        provider: r.get()?,
        plan: r.get()?,
        zone: r.get()?,
        image: r.get()?,
        address: r.get()?,
        ssh_port: r.get()?,
        ssh_user: r.get()?,
        host_key: r.get()?,
        ssh_key_sealed: r.get()?,
        state: r.get()?,
        problem: r.get()?,
        cloud_ref: r.get()?,
        operation_tag: r.get()?,
        tags: json(&r.get::<String>()?)?,
        labels: json(&r.get::<String>()?)?,
        delete_lock: r.get()?,
        node_id: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
    })
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(Error::internal)
}

/// Inserts a host.
///
/// # Errors
/// As the store; unique violations of `hosts_handle` and `hosts_workspace_id_hostname`.
pub async fn insert(tx: &mut Tx, h: &Host) -> Result<()> {
    let places: Vec<String> = (1..=23).map(|n| format!("${n}")).collect();
    let sql = format!("INSERT INTO hosts ({COLUMNS}) VALUES ({})", places.join(", "));
    let tags = serde_json::to_string(&h.tags).map_err(Error::internal)?;
    let labels = serde_json::to_string(&h.labels).map_err(Error::internal)?;
    let args = args![
        &h.id,
        &h.handle,
        &h.workspace_id,
        &h.hostname,
        &h.provider,
        &h.plan,
        &h.zone,
        &h.image,
        h.address.as_deref(),
        h.ssh_port,
        &h.ssh_user,
        h.host_key.as_deref(),
        h.ssh_key_sealed.as_deref(),
        h.state,
        h.problem.as_deref(),
        h.cloud_ref.as_deref(),
        h.operation_tag.as_deref(),
        tags,
        labels,
        h.delete_lock,
        h.node_id.as_ref(),
        h.inserted_at,
        h.updated_at
    ];
    tx.execute(&sql, args).await.map(|_| ())
}

/// Writes everything of a host that can change after it was made.
///
/// # Errors
/// As the store.
pub async fn update(tx: &mut Tx, h: &Host) -> Result<bool> {
    let sql = "UPDATE hosts SET address = $2, ssh_port = $3, ssh_user = $4, host_key = $5, state = $6, problem = $7,
          cloud_ref = $8, delete_lock = $9, node_id = $10, updated_at = $11, plan = $12
        WHERE id = $1";
    let args = args![
        &h.id,
        h.address.as_deref(),
        h.ssh_port,
        &h.ssh_user,
        h.host_key.as_deref(),
        h.state,
        h.problem.as_deref(),
        h.cloud_ref.as_deref(),
        h.delete_lock,
        h.node_id.as_ref(),
        h.updated_at,
        &h.plan
    ];
    Ok(tx.execute(sql, args).await? == 1)
}

/// Moves a host from one state to another. False when it is in none of `from`.
///
/// # Errors
/// As the store.
pub async fn set_state(tx: &mut Tx, id: &HostId, from: &[HostState], to: HostState, now: Timestamp) -> Result<bool> {
    let mut w = Where::new();
    w.eq("id", Some(id));
    w.any_of("state", from.iter().copied());
    let (to, now) = (w.arg(to), w.arg(now));
    let sql = format!("UPDATE hosts SET state = {to}, updated_at = {now}{}", w.sql());
    Ok(tx.execute(&sql, w.args()).await? == 1)
}

/// Pins the host key, unless one is pinned.
///
/// # Errors
/// As the store.
pub async fn pin(tx: &mut Tx, id: &HostId, key: &str, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE hosts SET host_key = $2, updated_at = $3 WHERE id = $1 AND host_key IS NULL";
    Ok(tx.execute(sql, args![id, key, now]).await? == 1)
}

/// Says which node a host is enrolled as.
///
/// # Errors
/// As the store.
pub async fn set_node(tx: &mut Tx, id: &HostId, node: &NodeId, now: Timestamp) -> Result<bool> {
    Ok(tx.execute("UPDATE hosts SET node_id = $2, updated_at = $3 WHERE id = $1", args![id, node, now]).await? == 1)
}

/// The host with this id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &HostId) -> Result<Option<Host>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM hosts WHERE id = $1"), args![id]).await?.map(read).transpose()
}

/// The hosts with these ids, in their order and in one statement. Those that are gone are left out.
///
/// # Errors
/// As the store.
pub async fn of_ids<'a>(tx: &mut Tx, ids: impl IntoIterator<Item = &'a HostId>) -> Result<Vec<Host>> {
    let ids: Vec<&HostId> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut w = Where::new();
    w.any_of("id", ids.iter().copied());
    let rows = tx.all(&format!("SELECT {COLUMNS} FROM hosts{}", w.sql()), w.args()).await?;
    let found: Vec<Host> = rows.into_iter().map(read).collect::<Result<_>>()?;
    let mut found: HashMap<HostId, Host> = found.into_iter().map(|host| (host.id.clone(), host)).collect();
    Ok(ids.into_iter().filter_map(|id| found.remove(id)).collect())
}

/// The host with this handle.
///
/// # Errors
/// As the store.
pub async fn by_handle(tx: &mut Tx, handle: &str) -> Result<Option<Host>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM hosts WHERE handle = $1"), args![handle]).await?.map(read).transpose()
}

/// The host with this handle, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn lock_by_handle(tx: &mut Tx, handle: &str) -> Result<Option<Host>> {
    let sql = format!("SELECT {COLUMNS} FROM hosts WHERE handle = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![handle]).await?.map(read).transpose()
}

/// The host of a workspace with this name.
///
/// # Errors
/// As the store.
pub async fn by_hostname(tx: &mut Tx, workspace: &WorkspaceId, hostname: &str) -> Result<Option<Host>> {
    let sql = format!("SELECT {COLUMNS} FROM hosts WHERE workspace_id = $1 AND hostname = $2");
    tx.opt(&sql, args![workspace, hostname]).await?.map(read).transpose()
}

/// The hosts of a workspace with these names, in order of the names.
///
/// # Errors
/// As the store.
pub async fn by_hostnames(tx: &mut Tx, workspace: &WorkspaceId, hostnames: &[String]) -> Result<Vec<Host>> {
    let these = dialect::json_texts(tx, "$2");
    let sql =
        format!("SELECT {COLUMNS} FROM hosts WHERE workspace_id = $1 AND hostname IN ({these}) ORDER BY hostname");
    let names = dialect::json_text(hostnames)?;
    tx.all(&sql, args![workspace, names]).await?.into_iter().map(read).collect()
}

/// Up to `most` hosts, the oldest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &HostFilter, most: i64) -> Result<Vec<Host>> {
    let mut w = Where::new();
    w.eq("workspace_id", filter.workspace_id.as_ref());
    w.eq("state", filter.state);
    w.eq("provider", filter.provider.as_deref());
    let most = w.arg(most);
    let sql = format!("SELECT {COLUMNS} FROM hosts{} ORDER BY inserted_at, id LIMIT {most}", w.sql());
    tx.all(&sql, w.args()).await?.into_iter().map(read).collect()
}

/// Names of the taskservs on a host.
///
/// # Errors
/// As the store.
pub async fn taskservs_on(tx: &mut Tx, id: &HostId) -> Result<Vec<String>> {
    let sql = "SELECT t.name FROM taskserv_hosts p JOIN taskservs t ON t.id = p.taskserv_id WHERE p.host_id = $1
        ORDER BY t.name LIMIT 100";
    tx.all(sql, args![id]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Removes a host and its places in taskservs; a taskserv that was on no other host goes with it. False when it is gone
/// already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &HostId) -> Result<bool> {
    let alone = "DELETE FROM taskservs WHERE id IN (SELECT p.taskserv_id FROM taskserv_hosts p WHERE p.host_id = $1
        AND NOT EXISTS (SELECT 1 FROM taskserv_hosts o WHERE o.taskserv_id = p.taskserv_id AND o.host_id <> $1))";
    tx.execute(alone, args![id]).await?;
    tx.execute("DELETE FROM taskserv_hosts WHERE host_id = $1", args![id]).await?;
    Ok(tx.execute("DELETE FROM hosts WHERE id = $1", args![id]).await? == 1)
}

/// Deletes all hosts of a workspace and its taskservs. Returns the hostnames in order.
///
/// # Errors
/// As the store.
pub async fn delete_in(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Vec<String>> {
    let places = "DELETE FROM taskserv_hosts WHERE host_id IN (SELECT id FROM hosts WHERE workspace_id = $1)";
    tx.execute(places, args![workspace]).await?;
    tx.execute("DELETE FROM taskservs WHERE workspace_id = $1", args![workspace]).await?;
    let sql = "DELETE FROM hosts WHERE workspace_id = $1 RETURNING hostname";
    let rows = tx.all(sql, args![workspace]).await?;
    let mut hostnames: Vec<String> = rows.into_iter().map(|mut row| row.get()).collect::<Result<_>>()?;
    hostnames.sort();
    Ok(hostnames)
}
