//! Server processes on this store: members by lease, on the database's clock.

use reeve_types::server::{Server, ServerState};
use reeve_types::{Error, Result, ServerId, Timestamp};

use crate::{Row, Tx, args};

const COLUMNS: &str = "id, epoch, state, admin_cluster, max_peers, version, listeners, agent_endpoints, public_urls, \
    agents, clock_ahead_us, started_at, last_seen_at, lease_until, ended_at";

fn read(mut row: Row) -> Result<Server> {
    Ok(Server {
        id: row.get()?,
        epoch: row.get()?,
        state: row.get()?,
        admin_cluster: row.get()?,
        max_peers: row.get()?,
        version: row.get()?,
        listeners: row.get()?,
        agent_endpoints: texts(&row.get::<String>()?)?,
        public_urls: texts(&row.get::<String>()?)?,
        agents: row.get()?,
        clock_ahead_us: row.get()?,
        started_at: row.get()?,
        last_seen_at: row.get()?,
        lease_until: row.get()?,
        ended_at: row.get()?,
    })
}

fn texts(json: &str) -> Result<Vec<String>> {
    serde_json::from_str(json).map_err(Error::internal)
}

/// Makes a server a member with an epoch of its own, higher than any it had. `fresh.epoch` is the least it may be.
/// Gives the epoch.
///
/// # Errors
/// As the store.
pub async fn join(tx: &mut Tx, fresh: &Server) -> Result<i64> {
    let json = |list: &[String]| serde_json::to_string(list).map_err(Error::internal);
    let sql = "INSERT INTO servers (id, version, listeners, started_at, last_seen_at, state, epoch, lease_until,
          admin_cluster, max_peers, agent_endpoints, public_urls, clock_ahead_us)
        VALUES ($1, $2, $3, $4, $4, 'member', $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, listeners = excluded.listeners,
          started_at = excluded.started_at, last_seen_at = excluded.last_seen_at, state = 'member', ended_at = NULL,
          epoch = CASE WHEN servers.epoch >= excluded.epoch THEN servers.epoch + 1 ELSE excluded.epoch END,
          lease_until = excluded.lease_until, admin_cluster = excluded.admin_cluster, max_peers = excluded.max_peers,
          agent_endpoints = excluded.agent_endpoints, public_urls = excluded.public_urls, agents = 0,
          clock_ahead_us = excluded.clock_ahead_us
        RETURNING epoch";
    let s = fresh;
    let args = args![
        &s.id,
        &s.version,
        &s.listeners,
        s.started_at,
        s.epoch,
        s.lease_until,
        &s.admin_cluster,
        s.max_peers,
        json(&s.agent_endpoints)?,
        json(&s.public_urls)?,
        s.clock_ahead_us
    ];
    tx.one(sql, args).await?.get()
}

/// What a server tells with each heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// The database's clock.
    pub now: Timestamp,
    /// A member until then.
    pub lease_until: Timestamp,
    /// Agents connected to it.
    pub agents: i64,
    /// How far its machine's clock is ahead of the database's.
    pub clock_ahead_us: i64,
}

/// Prolongs a member's lease. False when the server is no member in this epoch (any more).
///
/// # Errors
/// As the store.
pub async fn beat(tx: &mut Tx, id: &ServerId, epoch: i64, beat: Beat) -> Result<bool> {
    let sql = "UPDATE servers SET last_seen_at = $3, lease_until = $4, agents = $5, clock_ahead_us = $6
        WHERE id = $1 AND epoch = $2 AND state = 'member'";
    let args = args![id, epoch, beat.now, beat.lease_until, beat.agents, beat.clock_ahead_us];
    Ok(tx.execute(sql, args).await? == 1)
}

/// Whether the server is a member in this epoch.
///
/// # Errors
/// As the store.
pub async fn is_member(tx: &mut Tx, id: &ServerId, epoch: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM servers WHERE id = $1 AND epoch = $2 AND state = 'member'";
    Ok(tx.opt(sql, args![id, epoch]).await?.is_some())
}

/// Members whose lease passed before `now`.
///
/// # Errors
/// As the store.
pub async fn lapsed(tx: &mut Tx, now: Timestamp) -> Result<Vec<Server>> {
    let sql = format!("SELECT {COLUMNS} FROM servers WHERE state = 'member' AND lease_until < $1 ORDER BY id");
    tx.all(&sql, args![now]).await?.into_iter().map(read).collect()
}

/// Ends a membership of this epoch: because the server leaves, or because its lease passed. False when somebody else
/// did, or when the lease was prolonged meanwhile.
///
/// # Errors
/// As the store.
pub async fn end(tx: &mut Tx, id: &ServerId, epoch: i64, how: ServerState, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE servers SET state = $3, ended_at = $4, lease_until = $4, agents = 0
        WHERE id = $1 AND epoch = $2 AND state = 'member' AND ($3 = 'left' OR lease_until < $4)";
    Ok(tx.execute(sql, args![id, epoch, how, now]).await? == 1)
}

/// Every server that the store knows, in id order.
///
/// # Errors
/// As the store.
pub async fn all(tx: &mut Tx) -> Result<Vec<Server>> {
    tx.all(&format!("SELECT {COLUMNS} FROM servers ORDER BY id"), &[]).await?.into_iter().map(read).collect()
}

/// Members of all groups, in id order.
///
/// # Errors
/// As the store.
pub async fn members(tx: &mut Tx) -> Result<Vec<Server>> {
    let sql = format!("SELECT {COLUMNS} FROM servers WHERE state = 'member' ORDER BY id");
    tx.all(&sql, &[]).await?.into_iter().map(read).collect()
}

/// Forgets servers that ended before `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    tx.execute("DELETE FROM servers WHERE state <> 'member' AND ended_at < $1", args![before]).await
}

/// How many other servers were seen since then.
///
/// # Errors
/// As the store.
pub async fn others(tx: &mut Tx, me: &ServerId, since: Timestamp) -> Result<i64> {
    tx.one("SELECT count(*) FROM servers WHERE id <> $1 AND last_seen_at >= $2", args![me, since]).await?.get()
}

/// Members whose lease has not passed, in a database that may be of an older schema: ids.
///
/// # Errors
/// As the store.
pub async fn alive(tx: &mut Tx, now: Timestamp) -> Result<Vec<ServerId>> {
    // The state of a member came with this schema; before it there was one server.
    const MEMBERS: i64 = 7;
    if crate::migrate::number(tx).await? < MEMBERS {
        return Ok(Vec::new());
    }
    let sql = "SELECT id FROM servers WHERE state = 'member' AND lease_until >= $1 ORDER BY id";
    tx.all(sql, args![now]).await?.into_iter().map(|mut row| row.get()).collect()
}
