//! Taskservs and the hosts they are on.

use reeve_types::taskserv::{Placed, Taskserv, TaskservState};
use reeve_types::{HostId, Result, TaskservId, Timestamp, WorkspaceId};

use crate::filter::Where;
use crate::{Row, Tx, args, dialect};

const COLUMNS: &str = "t.id, t.handle, t.workspace_id, t.name, t.version, t.config, t.secrets_sealed, t.state, t.health, \
    t.inserted_at, t.updated_at";

fn read(r: &mut Row) -> Result<Taskserv> {
    Ok(Taskserv {
        id: r.get()?,
        handle: r.get()?,
        workspace_id: r.get()?,
        name: r.get()?,
        version: r.get()?,
        config: r.get()?,
        secrets_sealed: r.get()?,
        state: r.get()?,
        health: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
    })
}

/// Inserts a taskserv on these hosts.
///
/// # Errors
/// As the store; a unique violation of `taskservs_handle`.
pub async fn insert(tx: &mut Tx, t: &Taskserv, hosts: &[HostId]) -> Result<()> {
    let sql = "INSERT INTO taskservs
        (id, handle, workspace_id, name, version, config, secrets_sealed, state, health, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let args = args![
        &t.id,
        &t.handle,
        &t.workspace_id,
        &t.name,
        &t.version,
        &t.config,
        t.secrets_sealed.as_deref(),
        t.state,
        t.health.as_deref(),
        t.inserted_at,
        t.updated_at
    ];
    tx.execute(sql, args).await?;
    place(tx, &t.id, hosts).await
}

/// Adds hosts to a taskserv; those it is on already are left alone.
///
/// # Errors
/// As the store.
pub async fn place(tx: &mut Tx, id: &TaskservId, hosts: &[HostId]) -> Result<()> {
    let rows: Vec<_> = hosts.iter().map(|host| vec![id.into(), host.into()]).collect();
    tx.insert_many("taskserv_hosts (taskserv_id, host_id)", &rows, "ON CONFLICT DO NOTHING").await.map(|_| ())
}

/// Writes what can change of a taskserv.
///
/// # Errors
/// As the store.
pub async fn update(tx: &mut Tx, t: &Taskserv) -> Result<bool> {
    let sql =
        "UPDATE taskservs SET version = $2, config = $3, secrets_sealed = $4, state = $5, health = $6, updated_at = $7
        WHERE id = $1";
    let args =
        args![&t.id, &t.version, &t.config, t.secrets_sealed.as_deref(), t.state, t.health.as_deref(), t.updated_at];
    Ok(tx.execute(sql, args).await? == 1)
}

/// Moves a taskserv from one of some states (none: any) to another. False when it is in another.
///
/// # Errors
/// As the store.
pub async fn set_state(
    tx: &mut Tx,
    id: &TaskservId,
    from: &[TaskservState],
    to: TaskservState,
    now: Timestamp,
) -> Result<bool> {
    let mut w = Where::new();
    w.eq("id", Some(id));
    w.any_of("state", from.iter().copied());
    let (to, now) = (w.arg(to), w.arg(now));
    let sql = format!("UPDATE taskservs SET state = {to}, updated_at = {now}{}", w.sql());
    Ok(tx.execute(&sql, w.args()).await? == 1)
}

/// Stores what a health check said.
///
/// # Errors
/// As the store.
pub async fn set_health(tx: &mut Tx, id: &TaskservId, health: &str, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE taskservs SET health = $2, updated_at = $3 WHERE id = $1";
    Ok(tx.execute(sql, args![id, health, now]).await? == 1)
}

/// The taskserv with this id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &TaskservId) -> Result<Option<Placed>> {
    Ok(placed(tx, " WHERE t.id = $1", args![id]).await?.pop())
}

/// The taskserv with this handle.
///
/// # Errors
/// As the store.
pub async fn by_handle(tx: &mut Tx, handle: &str) -> Result<Option<Placed>> {
    Ok(placed(tx, " WHERE t.handle = $1", args![handle]).await?.pop())
}

/// Up to `most` taskservs with their hosts, the oldest first; of one workspace or of all.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, workspace: Option<&WorkspaceId>, most: i64) -> Result<Vec<Placed>> {
    let mut w = Where::new();
    w.eq("t.workspace_id", workspace);
    let most = w.arg(most);
    let conditions =
        format!(" WHERE t.id IN (SELECT t.id FROM taskservs t{} ORDER BY t.inserted_at, t.id LIMIT {most})", w.sql());
    placed(tx, &conditions, w.args()).await
}

/// The taskservs that are on one of these hosts.
///
/// # Errors
/// As the store.
pub async fn on_hosts(tx: &mut Tx, hosts: &[HostId]) -> Result<Vec<Placed>> {
    let ids = dialect::json_text(hosts)?;
    let these = dialect::json_texts(tx, "$1");
    let conditions = format!(" WHERE t.id IN (SELECT taskserv_id FROM taskserv_hosts WHERE host_id IN ({these}))");
    placed(tx, &conditions, args![ids]).await
}

/// One query for taskservs and their hosts.
async fn placed(tx: &mut Tx, conditions: &str, args: &[crate::Value<'_>]) -> Result<Vec<Placed>> {
    let sql = format!(
        "SELECT {COLUMNS}, p.host_id, h.hostname FROM taskservs t LEFT JOIN taskserv_hosts p ON p.taskserv_id = t.id
         LEFT JOIN hosts h ON h.id = p.host_id{conditions} ORDER BY t.inserted_at, t.id, h.hostname"
    );
    let mut all: Vec<Placed> = Vec::new();
    for mut row in tx.all(&sql, args).await? {
        let taskserv = read(&mut row)?;
        let host = row.get::<Option<HostId>>()?.zip(row.get::<Option<String>>()?);
        match all.last_mut() {
            Some(last) if last.taskserv.id == taskserv.id => last.hosts.extend(host),
            _ => all.push(Placed { taskserv, hosts: host.into_iter().collect() }),
        }
    }
    Ok(all)
}

/// Takes a taskserv off a host.
///
/// # Errors
/// As the store.
pub async fn displace(tx: &mut Tx, id: &TaskservId, host: &HostId) -> Result<bool> {
    let sql = "DELETE FROM taskserv_hosts WHERE taskserv_id = $1 AND host_id = $2";
    Ok(tx.execute(sql, args![id, host]).await? == 1)
}

/// Removes a taskserv. False when it is gone already.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &TaskservId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM taskservs WHERE id = $1", args![id]).await? == 1)
}
