//! The service itself.

use std::sync::Arc;

use reeve_domain::{App, operation};
use reeve_http_kit::call::Handler;
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Timestamp};
use serde::Serialize;

/// What the service says about itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The binary's version.
    pub version: &'static str,
    /// When it started.
    pub started_at: Timestamp,
}

impl About {
    fn uptime_seconds(&self, app: &App) -> i64 {
        (app.now().ms_since(self.started_at) / 1000).max(0)
    }
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    uptime_seconds: i64,
}

/// GET /health and /ready
pub fn health(about: Arc<About>) -> impl Handler<Arc<App>> {
    move |app: Arc<App>, _: Call| {
        let about = about.clone();
        async move {
            // A store that answers is what every route needs.
            app.store.read().await.map_err(|_| Error::unavailable("the store does not answer"))?;
            let uptime_seconds = about.uptime_seconds(&app);
            Reply::ok(&Health { status: "healthy", version: about.version, uptime_seconds })
        }
    }
}

#[derive(Serialize)]
struct Metrics {
    uptime_seconds: i64,
    tasks: Tasks,
}

#[derive(Serialize)]
struct Tasks {
    total: i64,
    running: i64,
}

/// GET /v1/metrics
pub fn metrics(about: Arc<About>) -> impl Handler<Arc<App>> {
    move |app: Arc<App>, call: Call| {
        let about = about.clone();
        async move {
            let (total, running) = operation::count(&app, &call.actor).await?;
            Reply::ok(&Metrics { uptime_seconds: about.uptime_seconds(&app), tasks: Tasks { total, running } })
        }
    }
}
