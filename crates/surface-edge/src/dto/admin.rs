//! Servers, their groups, and what they have been assigned.

use reeve_domain::admin::{Entry, Group, Me, Neighbour, Standing, Topology};
use serde::Serialize;

/// This server.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    #[serde(flatten)]
    entry: EntryView,
    admin_cluster_name: String,
    last_computed_at: Option<String>,
}

/// A member of this server's group.
#[derive(Debug, Serialize)]
pub struct EntryView {
    name: String,
    admin_peer_count: i64,
    edge_node_capacity: i64,
    erlang_node_name: String,
    max_wireguard_peers: i64,
    netmaker_host_id: String,
    vpn_hostname: String,
}

/// This server's group.
#[derive(Debug, Serialize)]
pub struct TopologyView {
    name: String,
    degraded: bool,
    topology: Vec<EntryView>,
    total_admins: usize,
    total_edge_capacity: i64,
    total_nodes: i64,
    weak_leader: String,
}

/// A group.
#[derive(Debug, Serialize)]
pub struct GroupView {
    name: String,
    ipv4_range: String,
    admin_count: usize,
    admins: Vec<NeighbourView>,
}

/// A server of a group. Its addresses in the group's network are null until there is such a network.
#[derive(Debug, Serialize)]
pub struct NeighbourView {
    name: String,
    netmaker_host_id: String,
    vpn_hostname: String,
    status: Option<&'static str>,
    last_checked_in: Option<String>,
    ipv4_address: Option<String>,
    wireguard_ip_address: Option<String>,
    wireguard_port: Option<u16>,
    use_static_port: bool,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            name: entry.name,
            admin_peer_count: entry.peers,
            edge_node_capacity: entry.capacity,
            erlang_node_name: entry.distribution_name,
            max_wireguard_peers: entry.max_peers,
            netmaker_host_id: entry.host_id,
            vpn_hostname: entry.host_name,
        }
    }
}

impl From<Me> for View {
    fn from(me: Me) -> Self {
        Self {
            id: me.entry.id.0.clone(),
            entry: me.entry.into(),
            admin_cluster_name: me.cluster_name,
            last_computed_at: super::shown_if(me.computed_at),
        }
    }
}

impl From<Topology> for TopologyView {
    fn from(topology: Topology) -> Self {
        Self {
            name: topology.name,
            degraded: topology.degraded,
            total_admins: topology.members.len(),
            topology: topology.members.into_iter().map(EntryView::from).collect(),
            total_edge_capacity: topology.total_capacity,
            total_nodes: topology.total_nodes,
            weak_leader: topology.leader,
        }
    }
}

impl From<Group> for GroupView {
    fn from(group: Group) -> Self {
        Self {
            name: group.name,
            ipv4_range: group.ipv4_range,
            admin_count: group.servers.len(),
            admins: group.servers.into_iter().map(NeighbourView::from).collect(),
        }
    }
}

impl From<Neighbour> for NeighbourView {
    fn from(server: Neighbour) -> Self {
        let status = match server.standing {
            Standing::Online => "online",
            Standing::Offline => "offline",
            Standing::Left => "disconnected",
        };
        Self {
            name: server.name,
            netmaker_host_id: server.host_id,
            vpn_hostname: server.host_name,
            status: Some(status),
            last_checked_in: super::shown_if(Some(server.seen_at)),
            ipv4_address: None,
            wireguard_ip_address: None,
            wireguard_port: None,
            use_static_port: false,
        }
    }
}
