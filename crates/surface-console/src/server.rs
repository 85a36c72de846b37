//! The server itself, and its checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;
use serde::Serialize;
use serde_json::json;

use crate::routes::State;

/// One check of `doctor`.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub fix: Option<String>,
}

/// Runs the checks that need the machine; given by the server.
pub trait Doctor: Send + Sync + 'static {
    /// Every check, in the order in which they are shown.
    fn run(&self) -> BoxFuture<'_, Vec<Check>>;
}

/// What the server knows of itself.
pub struct ServerInfo {
    /// Version.
    pub version: String,
    /// Surface to URL.
    pub listeners: BTreeMap<String, String>,
    /// `host:port` for agents; empty when they are not accepted.
    pub agent_endpoint: String,
    /// The checks.
    pub doctor: Arc<dyn Doctor>,
}

/// GET /api/server
pub async fn get(state: State, _: Call) -> Result<Reply> {
    Reply::ok(&json!({
        "version": state.info.version,
        "id": state.app.server_id,
        "listeners": state.info.listeners,
        "agent_endpoint": state.info.agent_endpoint,
        "agents_connected": state.app.agents().connected_count(),
    }))
}

/// GET /api/doctor
pub async fn doctor(state: State, _: Call) -> Result<Reply> {
    let checks = state.info.doctor.run().await;
    Reply::ok(&json!({"ok": checks.iter().all(|c| c.ok), "checks": checks}))
}
