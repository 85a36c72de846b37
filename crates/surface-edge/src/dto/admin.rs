//! This server.

use reeve_domain::admin::Me;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    admin_cluster_name: String,
    admin_peer_count: i64,
    edge_node_capacity: i64,
    erlang_node_name: String,
    last_computed_at: Option<String>,
    max_wireguard_peers: i64,
    netmaker_host_id: String,
    vpn_hostname: String,
}

impl From<Me> for View {
    fn from(me: Me) -> Self {
        Self {
            id: me.id.0,
            name: me.name,
            admin_cluster_name: me.cluster_name,
            admin_peer_count: me.peers,
            edge_node_capacity: me.capacity,
            erlang_node_name: me.distribution_name,
            last_computed_at: super::shown_if(Some(me.computed_at)),
            max_wireguard_peers: me.max_peers,
            netmaker_host_id: me.host_id,
            vpn_hostname: me.host_name,
        }
    }
}
