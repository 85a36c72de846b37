//! Clusters.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_domain::cluster::{self, WithNodes};
use reeve_types::Patch;
use reeve_types::cluster::{ClusterFilter, network_name};
use serde::{Deserialize, Serialize};

use super::{Since, Until, domain_name, host_name, name, numbers, period, shown};

/// POST.
#[derive(Debug, Deserialize)]
pub struct Create {
    name: String,
    ipv4_range: Option<String>,
    node_limit: Option<i64>,
}

impl From<Create> for cluster::Create {
    fn from(c: Create) -> Self {
        Self { name: c.name, ipv4_range: c.ipv4_range, node_limit: c.node_limit }
    }
}

/// PATCH.
#[derive(Debug, Deserialize)]
pub struct Update {
    /// Most nodes.
    #[serde(default)]
    pub node_limit: Patch<i64>,
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    name: Option<String>,
    ipv4_range: Option<String>,
    has_node_limit: Option<bool>,
    node_limit: Option<i64>,
    node_limit__gte: Option<i64>,
    node_limit__lte: Option<i64>,
    node_count__gte: Option<i64>,
    node_count__lte: Option<i64>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for ClusterFilter {
    fn from(q: Query) -> Self {
        Self {
            name: name(q.name),
            ipv4_range: name(q.ipv4_range),
            has_node_limit: q.has_node_limit,
            node_limit: numbers(q.node_limit, q.node_limit__gte, q.node_limit__lte),
            node_count: numbers(None, q.node_count__gte, q.node_count__lte),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    ipv4_range: String,
    network_name: String,
    vpn_domain: String,
    node_limit: Option<i64>,
    node_count: i64,
    nodes: Vec<Member>,
    inserted_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    id_type: &'static str,
    status: &'static str,
    vpn_hostname: String,
}

impl View {
    /// The answer for a cluster.
    pub fn of(row: WithNodes, dns_suffix: &str) -> Self {
        let WithNodes { cluster, nodes } = row;
        let member = |node: reeve_types::node::NodeSummary| Member {
            vpn_hostname: host_name(&format!("node-{}", node.id), &cluster.name, dns_suffix),
            id: node.id.0,
            id_type: node.id_type.word(),
            status: node.status.word(),
        };
        Self {
            nodes: nodes.into_iter().map(member).collect(),
            id: cluster.id.0,
            network_name: network_name(&cluster.name),
            vpn_domain: domain_name(&cluster.name, dns_suffix),
            name: cluster.name,
            ipv4_range: cluster.ipv4_range,
            node_limit: cluster.node_limit,
            node_count: cluster.node_count,
            inserted_at: shown(cluster.inserted_at),
            updated_at: shown(cluster.updated_at),
        }
    }
}
