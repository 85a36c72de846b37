//! Aliases: further names of a node.

use crate::id::{AliasId, ClusterId, NodeId};
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// An alias as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Row id.
    pub id: AliasId,
    /// The node that is called so.
    pub node_id: NodeId,
    /// The node's cluster: no two of its nodes share a name.
    pub cluster_id: ClusterId,
    /// That cluster's name.
    pub cluster_name: String,
    /// 1 to 63 characters, a DNS label.
    pub name: String,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Alias {
    /// `node-<name>`, the name of the host in networks.
    pub fn host(&self) -> String {
        format!("node-{}", self.name)
    }
}

/// Filters of alias lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasFilter {
    /// On the name.
    pub name: Option<TextMatch>,
    /// On the node, any of these.
    pub node_ids: Vec<NodeId>,
    /// On the name of the node's cluster.
    pub cluster_name: Option<TextMatch>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
