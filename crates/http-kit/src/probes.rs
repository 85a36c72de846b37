//! Health routes: `/ping`, `/livez`, `/health`, `/healthz`, `/readyz`, `/health/cluster`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reeve_types::Permission;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use crate::auth::{Authenticate, bearer};
use crate::cors::{Content, secure};
use crate::measure::Metrics;
use crate::pipeline::Peer;

/// All checks together may take this long.
const CHECKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of one health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was checked, as in `Database`.
    pub name: String,
    /// Whether it is well.
    pub healthy: bool,
    /// What is wrong; null when healthy.
    pub error: Option<String>,
    /// How long the check took, in microseconds.
    pub time: u64,
}

/// What the readiness routes ask.
pub trait Health: Send + Sync + 'static {
    /// Runs all checks.
    fn check(&self) -> BoxFuture<'_, Vec<CheckResult>>;
}

/// The health routes of a listener.
#[derive(Clone)]
pub struct Probes {
    /// Shown by `/livez`.
    pub version: &'static str,
    /// Asked by `/readyz`.
    pub health: Arc<dyn Health>,
    /// True while there are more nodes than capacity.
    pub degraded: Arc<AtomicBool>,
    /// True while the server drains: not ready any more.
    pub draining: tokio_util::sync::CancellationToken,
}

impl Probes {
    /// The routes, to be merged into a surface's or the console's router.
    pub fn router(&self) -> Router {
        let live = json!({"status": "ok", "version": self.version}).to_string();
        let alive = move || {
            let live = live.clone();
            async move { answer(StatusCode::OK, "application/json; charset=utf-8", live) }
        };
        let probes = self.clone();
        let ready = move || {
            let probes = probes.clone();
            async move { probes.ready().await }
        };
        let degraded = self.degraded.clone();
        let cluster = move || {
            let status = if degraded.load(Ordering::Relaxed) { "degraded" } else { "ok" };
            async move {
                let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                answer(code, "application/json; charset=utf-8", json!({"status": status}).to_string())
            }
        };
        Router::new()
            .route("/ping", get(alive.clone()))
            .route("/livez", get(alive))
            .route("/health", get(ready.clone()))
            .route("/healthz", get(ready.clone()))
            .route("/readyz", get(ready))
            .route("/health/cluster", get(cluster))
    }

    async fn ready(&self) -> Response {
        let mut results = match timeout(CHECKS_TIMEOUT, self.health.check()).await {
            Ok(results) => results,
            Err(_) => vec![CheckResult {
                name: "Checks".into(),
                healthy: false,
                error: Some("timed out".into()),
                time: 5_000_000,
            }],
        };
        if self.draining.is_cancelled() {
            results.push(CheckResult {
                name: "Draining".into(),
                healthy: false,
                error: Some("the server is stopping".into()),
                time: 0,
            });
        }
        let status = if results.iter().all(|r| r.healthy) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer(status, "application/json; charset=utf-8", serde_json::to_string(&results).unwrap_or_default())
    }
}

/// `/metrics` for callers with [`Permission::MetricsRead`].
pub fn metrics_router(metrics: Metrics, authenticate: Arc<dyn Authenticate>) -> Router {
    let scrape = move |request: Request| {
        let (metrics, authenticate) = (metrics.clone(), authenticate.clone());
        async move {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
            match authenticate.authenticate(bearer(request.headers()), peer).await {
                Ok(Some(actor)) if actor.may(Permission::MetricsRead) => {
                    let (content_type, text) =
                        metrics.render(request.headers().get(ACCEPT).and_then(|v| v.to_str().ok()));
                    answer(StatusCode::OK, content_type, text)
                }
                Ok(Some(_)) => answer(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", "Forbidden\n".to_owned()),
                Ok(None) => answer(StatusCode::UNAUTHORIZED, "text/plain; charset=utf-8", "Unauthorized\n".to_owned()),
                Err(error) => {
                    tracing::warn!(%error, "credentials of a scraper could not be checked");
                    answer(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "text/plain; charset=utf-8",
                        "Service Unavailable\n".to_owned(),
                    )
                }
            }
        }
    };
    Router::new().route("/metrics", get(scrape))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    secure(response.headers_mut(), Content::Data);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
