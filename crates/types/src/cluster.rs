//! Edge clusters: named groups of nodes with an address range.

use crate::id::ClusterId;
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// An edge cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Row id.
    pub id: ClusterId,
    /// Unique, at most 24 characters, a DNS label.
    pub name: String,
    /// IPv4 CIDR, unique and not overlapping any other.
    pub ipv4_range: String,
    /// Most nodes allowed; None is no limit.
    pub node_limit: Option<i64>,
    /// Nodes in it, kept in the transactions that add and remove them.
    pub node_count: i64,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Cluster {
    /// The name of its network: `cluster-<name>`.
    pub fn network_name(&self) -> String {
        network_name(&self.name)
    }
}

/// The network of the cluster called `name`.
pub fn network_name(name: &str) -> String {
    format!("cluster-{name}")
}

/// Filters of cluster lists and of targeting; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClusterFilter {
    /// On the name.
    pub name: Option<TextMatch>,
    /// On the CIDR as text.
    pub ipv4_range: Option<TextMatch>,
    /// Whether a limit is set.
    pub has_node_limit: Option<bool>,
    /// On the limit.
    pub node_limit: Range<i64>,
    /// On the number of nodes.
    pub node_count: Range<i64>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
