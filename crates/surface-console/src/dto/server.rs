//! Servers on the store.

use reeve_domain::App;
use reeve_types::Timestamp;
use reeve_types::server::{Server, ServerState};
use serde::Serialize;
use serde_json::value::RawValue;

/// One server.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    state: &'static str,
    here: bool,
    version: String,
    admin_cluster: String,
    max_peers: i64,
    agents_connected: i64,
    clock_ahead_ms: i64,
    agent_endpoints: Vec<String>,
    listeners: Box<RawValue>,
    started_at: String,
    last_seen_at: String,
    lease_until: String,
    ended_at: Option<String>,
}

impl View {
    /// A server as seen at `now`, by the database's clock.
    ///
    /// # Errors
    /// Internal when the stored listeners are no JSON.
    pub fn of(app: &App, server: Server, now: Timestamp) -> reeve_types::Result<Self> {
        let state = match server.state {
            ServerState::Member if server.lease_until < now => "silent",
            ServerState::Member => "member",
            ServerState::Left => "left",
            ServerState::Expelled => "expelled",
        };
        Ok(Self {
            name: server.name(),
            state,
            here: server.id == app.server_id,
            id: server.id.0,
            version: server.version,
            admin_cluster: server.admin_cluster,
            max_peers: server.max_peers,
            agents_connected: server.agents,
            clock_ahead_ms: server.clock_ahead_us / 1000,
            agent_endpoints: server.agent_endpoints,
            listeners: RawValue::from_string(server.listeners).map_err(reeve_types::Error::internal)?,
            started_at: super::shown(server.started_at),
            last_seen_at: super::shown(server.last_seen_at),
            lease_until: super::shown(server.lease_until),
            ended_at: super::shown_if(server.ended_at),
        })
    }
}
