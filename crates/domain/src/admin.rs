//! This server and its group as the edge API shows them. Everything stands in rows: nothing is computed here.

use std::collections::BTreeMap;

use reeve_store::{Tx, admin_cluster, dialect, server};
use reeve_types::cluster::network_name;
use reeve_types::server::{AdminCluster, Server, ServerState, server_name};
use reeve_types::{Actor, Permission, Result, ServerId, Timestamp};
use sha2::{Digest, Sha256};

use crate::server::assign::capacity;
use crate::{App, authz};

/// Most nodes named of one cluster.
const NODES_OF_CLUSTER: i64 = 10_000;

/// A server as its group sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The server.
    pub id: ServerId,
    /// `admin-<id>`.
    pub name: String,
    /// Other servers of its group.
    pub peers: i64,
    /// Most peers of a server.
    pub max_peers: i64,
    /// Nodes it has room for: the peers it may have less the servers among them.
    pub capacity: i64,
    /// Its name for clients that expect a distributed Erlang node.
    pub distribution_name: String,
    /// Its id as a network host: a UUID that follows from the server's id.
    pub host_id: String,
    /// Its name in the servers' network.
    pub host_name: String,
}

/// What a server tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// As its group sees it.
    pub entry: Entry,
    /// `admin-cluster-<suffix>`.
    pub cluster_name: String,
    /// When the shares of its group were last computed.
    pub computed_at: Option<Timestamp>,
}

/// This server's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// `admin-cluster-<suffix>`.
    pub name: String,
    /// More nodes than there is room for.
    pub degraded: bool,
    /// Its members, by name.
    pub members: Vec<Entry>,
    /// Nodes that the members have room for.
    pub total_capacity: i64,
    /// Nodes on the store.
    pub total_nodes: i64,
    /// The first member by name: it does what one server has to do.
    pub leader: String,
}

/// How a server of any group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds its lease.
    Online,
    /// Its lease passed.
    Offline,
    /// It said goodbye.
    Left,
}

/// A server of any group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// `admin-<id>`.
    pub name: String,
    /// As [`Entry::host_id`].
    pub host_id: String,
    /// As [`Entry::host_name`].
    pub host_name: String,
    /// Its last heartbeat.
    pub seen_at: Timestamp,
    /// How it is doing.
    pub standing: Standing,
}

/// A group with its servers, also those that are gone and not forgotten yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `admin-cluster-<suffix>`.
    pub name: String,
    /// The range that its own network is given.
    pub ipv4_range: String,
    /// Its servers, by name.
    pub servers: Vec<Neighbour>,
}

/// Clusters by network name, each with the names of its nodes, at most 10,000.
pub type Clusters = BTreeMap<String, Vec<String>>;

/// This server.
///
/// # Errors
/// As the store.
pub async fn me(app: &App, actor: &Actor) -> Result<Me> {
    authz::require(actor, Permission::AdminsRead)?;
    let mut tx = app.store.read().await?;
    let cluster_name = app.config.admin_cluster_name();
    let members = members(app, &mut tx, &cluster_name).await?;
    let group = admin_cluster::by_name(&mut tx, &cluster_name).await?;
    let entry = entry(app, &app.server_id, app.config.max_peers, members.len());
    Ok(Me { entry, computed_at: group.and_then(|group| group.computed_at), cluster_name })
}

/// This server's group.
///
/// # Errors
/// As the store.
pub async fn my_cluster(app: &App, actor: &Actor) -> Result<Topology> {
    authz::require(actor, Permission::AdminsRead)?;
    let mut tx = app.store.read().await?;
    let name = app.config.admin_cluster_name();
    let servers = members(app, &mut tx, &name).await?;
    let group = admin_cluster::by_name(&mut tx, &name).await?;
    let members: Vec<Entry> = servers.iter().map(|(id, max)| entry(app, id, *max, servers.len())).collect();
    let leader = members.first().map(|first| first.name.clone());
    Ok(Topology {
        name,
        degraded: group.as_ref().is_some_and(|group| group.degraded),
        total_capacity: members.iter().map(|member| member.capacity).sum(),
        total_nodes: group.map_or(0, |group| group.total_nodes),
        leader: leader.unwrap_or_else(|| server_name(&app.server_id)),
        members,
    })
}

/// Ids and peer budgets of the group's members in order of id; this server is always among them.
async fn members(app: &App, tx: &mut Tx, group: &str) -> Result<Vec<(ServerId, i64)>> {
    let servers = server::members(tx).await?;
    let mut members: BTreeMap<ServerId, i64> =
        servers.into_iter().filter(|s| s.admin_cluster == group).map(|s| (s.id, s.max_peers)).collect();
    members.entry(app.server_id.clone()).or_insert(app.config.max_peers);
    Ok(members.into_iter().collect())
}

fn entry(app: &App, id: &ServerId, max_peers: i64, members: usize) -> Entry {
    let members = i64::try_from(members).unwrap_or(i64::MAX);
    let host_name = host_name(app, id, &app.config.admin_cluster_name());
    Entry {
        id: id.clone(),
        name: server_name(id),
        peers: members - 1,
        max_peers,
        capacity: capacity(max_peers, members),
        distribution_name: format!("admin@{host_name}"),
        host_id: host_id(id),
        host_name,
    }
}

/// Every group on the store with its servers, those that are gone included until they are forgotten.
///
/// # Errors
/// As the store.
pub async fn clusters(app: &App, actor: &Actor) -> Result<Vec<Group>> {
    authz::require(actor, Permission::AdminsRead)?;
    let mut tx = app.store.read().await?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    let servers = server::all(&mut tx).await?;
    let groups = admin_cluster::all(&mut tx).await?;
    let with_servers = |group: AdminCluster| {
        let of_group = servers.iter().filter(|server| server.admin_cluster == group.name);
        let servers = of_group.map(|server| neighbour(app, server, now)).collect();
        Group { name: group.name, ipv4_range: group.ipv4_range, servers }
    };
    Ok(groups.into_iter().map(with_servers).collect())
}

fn neighbour(app: &App, server: &Server, now: Timestamp) -> Neighbour {
    let standing = match server.state {
        ServerState::Member if server.lease_until >= now => Standing::Online,
        ServerState::Member | ServerState::Expelled => Standing::Offline,
        ServerState::Left => Standing::Left,
    };
    Neighbour {
        name: server.name(),
        host_id: host_id(&server.id),
        host_name: host_name(app, &server.id, &server.admin_cluster),
        seen_at: server.last_seen_at,
        standing,
    }
}

/// What each member of the group has been assigned, by the members' names.
///
/// # Errors
/// As the store.
pub async fn edge_clusters(app: &App, actor: &Actor) -> Result<BTreeMap<String, Clusters>> {
    authz::require(actor, Permission::AdminsRead)?;
    let mut tx = app.store.read().await?;
    let group = app.config.admin_cluster_name();
    let members = members(app, &mut tx, &group).await?;
    let mut shares: BTreeMap<String, Clusters> =
        members.iter().map(|(id, _)| (server_name(id), Clusters::new())).collect();
    let mut nodes = nodes(&mut tx, &group, false).await?;
    for share in admin_cluster::shares(&mut tx, &group).await? {
        // A server that went a moment ago has its clusters until they are shared out again.
        if let Some(server) = share.server {
            let of_cluster = nodes.remove(&share.cluster).unwrap_or_default();
            shares.entry(server_name(&server)).or_default().insert(network_name(&share.cluster), of_cluster);
        }
    }
    Ok(shares)
}

/// Clusters that no member of the group has room for.
///
/// # Errors
/// As the store.
pub async fn orphaned_clusters(app: &App, actor: &Actor) -> Result<Clusters> {
    authz::require(actor, Permission::AdminsRead)?;
    let mut tx = app.store.read().await?;
    let group = app.config.admin_cluster_name();
    let mut nodes = nodes(&mut tx, &group, true).await?;
    let shares = admin_cluster::shares(&mut tx, &group).await?;
    let orphans = shares.into_iter().filter(|share| share.server.is_none());
    Ok(orphans.map(|s| (network_name(&s.cluster), nodes.remove(&s.cluster).unwrap_or_default())).collect())
}

/// Names of nodes by the names of their clusters.
async fn nodes(tx: &mut Tx, group: &str, orphans: bool) -> Result<BTreeMap<String, Vec<String>>> {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (cluster, node) in admin_cluster::nodes(tx, group, orphans, NODES_OF_CLUSTER).await? {
        nodes.entry(cluster).or_default().push(format!("node-{node}"));
    }
    Ok(nodes)
}

fn host_name(app: &App, id: &ServerId, group: &str) -> String {
    match app.config.dns_suffix.as_str() {
        "" => format!("{}.{group}", server_name(id)),
        suffix => format!("{}.{group}.{suffix}", server_name(id)),
    }
}

/// A UUID (of version 8: made up by rules of one's own) from a server's id.
fn host_id(id: &ServerId) -> String {
    let digest = Sha256::digest(format!("reeve.host:{id}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_are_stable_uuids() {
        let id = host_id(&"abc".into());
        assert!(reeve_types::id::is_uuid(&id), "{id}");
        assert_eq!(id, host_id(&"abc".into()));
        assert_ne!(id, host_id(&"abd".into()));
    }
}
