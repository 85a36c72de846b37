//! The server itself, and its checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, Ready, ready};
use reeve_domain::App;
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;
use serde::Serialize;
use serde_json::json;

use crate::dto::server::View;

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

struct NoChecks;

impl Doctor for NoChecks {
    fn run(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { Vec::new() })
    }
}

impl Default for ServerInfo {
    /// A server without listeners and checks, as tests have it.
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listeners: BTreeMap::new(),
            agent_endpoint: String::new(),
            doctor: Arc::new(NoChecks),
        }
    }
}

/// GET /api/server
pub fn get(info: Arc<ServerInfo>) -> impl Fn(Arc<App>, Call) -> Ready<Result<Reply>> {
    move |app, _| {
        ready(Reply::ok(&json!({
            "version": info.version,
            "id": app.server_id,
            "listeners": info.listeners,
            "agent_endpoint": info.agent_endpoint,
            "agents_connected": app.agents().connected_count(),
        })))
    }
}

/// GET /api/servers
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let (servers, now) = reeve_domain::server::list(&app, &call.actor).await?;
    let views: Vec<View> = servers.into_iter().map(|server| View::of(&app, server, now)).collect::<Result<_>>()?;
    Reply::ok(&views)
}

/// GET /api/doctor
pub fn doctor(info: Arc<ServerInfo>) -> impl Fn(Arc<App>, Call) -> BoxFuture<'static, Result<Reply>> {
    move |_, _| {
        let info = info.clone();
        Box::pin(async move {
            let checks = info.doctor.run().await;
            Reply::ok(&json!({"ok": checks.iter().all(|c| c.ok), "checks": checks}))
        })
    }
}
