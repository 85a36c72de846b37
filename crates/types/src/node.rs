//! Nodes: machines with an agent.

use std::collections::BTreeMap;

use crate::id::{ClusterId, NodeId, ServerId};
use crate::selector::Selector;
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }
        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The stored word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// Reads a stored word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How a node is doing.
    NodeStatus {
        /// In touch, its checks pass.
        Healthy = "healthy",
        /// In touch, a check of its own fails.
        Unhealthy = "unhealthy",
        /// No contact for longer than the configured time.
        Unreachable = "unreachable",
    }
}

words! {
    /// Where a node's id comes from.
    NodeIdType {
        /// Derived from the machine, the same after a reinstall.
        Persistent = "persistent",
        /// Drawn at the first start.
        Random = "random",
    }
}

/// The ports on which a node's services listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// Agent HTTP API.
    pub http: u16,
    /// Agent SSH server.
    pub ssh: u16,
    /// Host metrics.
    pub host_metrics: u16,
    /// WireGuard metrics.
    pub wireguard_metrics: u16,
    /// HTTP forward proxy.
    pub http_proxy: u16,
    /// SOCKS5 forward proxy.
    pub socks5_proxy: u16,
}

impl Default for NodePorts {
    fn default() -> Self {
        Self {
            http: 44000,
            ssh: 40022,
            host_metrics: 49100,
            wireguard_metrics: 49586,
            http_proxy: 43128,
            socks5_proxy: 41080,
        }
    }
}

/// A node as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Chosen by the agent, a UUID.
    pub id: NodeId,
    /// The cluster it is in.
    pub cluster_id: ClusterId,
    /// That cluster's name.
    pub cluster_name: String,
    /// Where the id comes from.
    pub id_type: NodeIdType,
    /// How it is doing.
    pub status: NodeStatus,
    /// Agent version.
    pub version: Option<String>,
    /// Its service ports.
    pub ports: NodePorts,
    /// Whether it takes part in self-updates.
    pub self_update_enabled: bool,
    /// Last contact.
    pub last_seen_at: Option<Timestamp>,
    /// The server that holds its connection, None while it has none.
    pub connected_server: Option<ServerId>,
    /// Its Ed25519 public key, hex.
    pub public_key: String,
    /// What the agent told of its machine, a JSON object.
    pub facts: Option<String>,
    /// Labels, key to value.
    pub labels: BTreeMap<String, String>,
    /// Registration.
    pub inserted_at: Timestamp,
    /// Last change of the row besides contact.
    pub updated_at: Timestamp,
}

impl Node {
    /// `node-<id>`, the name of the host in networks.
    pub fn node_name(&self) -> String {
        format!("node-{}", self.id)
    }
}

/// A node's secrets as stored: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSecrets {
    /// Sealed API token.
    pub api_token: String,
    /// Sealed proxy password.
    pub proxy_password: String,
}

/// What lists of nodes inside a cluster show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSummary {
    /// The node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Where its id comes from.
    pub id_type: NodeIdType,
    /// How it is doing.
    pub status: NodeStatus,
}

/// Filters of node lists and of targeting; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeFilter {
    /// On the name of the node's cluster.
    pub cluster_name: Option<TextMatch>,
    /// On the kind of id.
    pub id_type: Option<NodeIdType>,
    /// On the status, any of these.
    pub status: Vec<NodeStatus>,
    /// On the agent version.
    pub version: Option<TextMatch>,
    /// On taking part in self-updates.
    pub self_update_enabled: Option<bool>,
    /// On having a connection at the moment.
    pub connected: Option<bool>,
    /// On the last contact.
    pub last_seen_at: Range<Timestamp>,
    /// On registration.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
    /// On labels.
    pub labels: Option<Selector>,
}
