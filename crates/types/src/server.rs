//! Server processes on one store, and the groups they form.

use crate::id::ServerId;
use crate::time::Timestamp;

/// Whether a server takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It holds its lease, or held it until a moment ago.
    Member,
    /// It said goodbye.
    Left,
    /// Its lease passed, and the others took note.
    Expelled,
}

impl ServerState {
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            ServerState::Member => "member",
            ServerState::Left => "left",
            ServerState::Expelled => "expelled",
        }
    }
    /// From the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [ServerState::Member, ServerState::Left, ServerState::Expelled].into_iter().find(|state| state.word() == word)
    }
}

/// A server as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Stable: kept in its data directory.
    pub id: ServerId,
    /// Grows with every join: what was done in an earlier one is void.
    pub epoch: i64,
    /// Whether it takes part.
    pub state: ServerState,
    /// Its group: `admin-cluster-<suffix>`.
    pub admin_cluster: String,
    /// Peers it may hold: other servers and nodes together.
    pub max_peers: i64,
    /// Reeve's version.
    pub version: String,
    /// Surface to URL, a JSON object.
    pub listeners: String,
    /// `host:port` at which agents reach it.
    pub agent_endpoints: Vec<String>,
    /// Base URLs of its REST API.
    pub public_urls: Vec<String>,
    /// Agents connected to it at its last heartbeat.
    pub agents: i64,
    /// How far its machine's clock is ahead of the database's, in microseconds; negative is behind.
    pub clock_ahead_us: i64,
    /// When it joined.
    pub started_at: Timestamp,
    /// Its last heartbeat, by the database's clock.
    pub last_seen_at: Timestamp,
    /// A member until then, by the database's clock.
    pub lease_until: Timestamp,
    /// When it left or was expelled.
    pub ended_at: Option<Timestamp>,
}

impl Server {
    /// `admin-<id>`.
    pub fn name(&self) -> String {
        server_name(&self.id)
    }
}

/// The name of the server `id`: `admin-<id>`.
pub fn server_name(id: &ServerId) -> String {
    format!("admin-{id}")
}

/// A group of servers, and what the last computation of its shares came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCluster {
    /// `admin-cluster-<suffix>`.
    pub name: String,
    /// The range that its own network is given.
    pub ipv4_range: String,
    /// More nodes than its servers have room for.
    pub degraded: bool,
    /// Nodes on the store.
    pub total_nodes: i64,
    /// Nodes that its members have room for.
    pub total_capacity: i64,
    /// Which server computed it.
    pub computed_by: Option<ServerId>,
    /// When; None before the first time.
    pub computed_at: Option<Timestamp>,
}

/// An edge cluster and the server that it is assigned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The cluster's name.
    pub cluster: String,
    /// None: no server has room for it.
    pub server: Option<ServerId>,
}
