//! What nodes measure: as JSON, as text for Prometheus, and where Prometheus finds it.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reeve_domain::App;
use reeve_domain::node_metrics::{self as metrics, Target};
use reeve_http_kit::{Call, Reply};
use reeve_types::node_metrics::{Reading, Source};
use reeve_types::{Actor, Error, NodeId, Result, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::dto::node_metrics::{self as dto, Query};
use crate::dto::{node_exposition, shown};
use crate::exposition::Exposition;

/// Nodes in one piece of a discovery answer.
const PIECE: i64 = 1_000;

/// GET /api/v1/nodes/metrics
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let (filter, live) = call.query::<Query>()?.filter()?;
    let found = metrics::list(&app, &call.actor, &filter, &call.sort(), call.page(), live).await?;
    Reply::page(&found.map(dto::row))
}

/// GET /api/v1/nodes/{node_id}/metrics
pub async fn unified(app: Arc<App>, call: Call) -> Result<Reply> {
    let id = node(&call);
    let (cluster_name, reading) = metrics::read_if_any(&app, &call.actor, &id).await?;
    Reply::ok(&dto::unified(id.0, cluster_name, reading, shown(app.now())))
}

/// GET /api/v1/nodes/{node_id}/metrics/host
pub async fn host(app: Arc<App>, call: Call) -> Result<Reply> {
    let reading = metrics::read(&app, &call.actor, &node(&call)).await?;
    let numbers = dto::host(reading).ok_or_else(|| nothing(Source::Host))?;
    both_ways(&app, &call, &numbers)
}

/// GET /api/v1/nodes/{node_id}/metrics/agent
pub async fn agent(app: Arc<App>, call: Call) -> Result<Reply> {
    let reading = metrics::read(&app, &call.actor, &node(&call)).await?;
    Reply::ok(&dto::agent(reading).ok_or_else(|| nothing(Source::Agent))?)
}

/// GET /api/v1/nodes/{node_id}/metrics/host/raw
pub async fn host_raw(app: Arc<App>, call: Call) -> Result<Reply> {
    raw(&app, &call, Source::Host, node_exposition::host).await
}

/// GET /api/v1/nodes/{node_id}/metrics/agent/raw
pub async fn agent_raw(app: Arc<App>, call: Call) -> Result<Reply> {
    raw(&app, &call, Source::Agent, node_exposition::agent).await
}

/// GET /api/v1/nodes/{node_id}/metrics/wireguard/raw
pub async fn wireguard_raw(app: Arc<App>, call: Call) -> Result<Reply> {
    // Agents run no mesh: there is nothing to measure, and nothing is made up.
    raw(&app, &call, Source::Wireguard, |_, _| None).await
}

/// GET /api/v1/nodes/metrics/host/discovery
pub async fn discover_host(app: Arc<App>, call: Call) -> Result<Reply> {
    discover(app, call, Source::Host).await
}

/// GET /api/v1/nodes/metrics/agent/discovery
pub async fn discover_agent(app: Arc<App>, call: Call) -> Result<Reply> {
    discover(app, call, Source::Agent).await
}

/// GET /api/v1/nodes/metrics/wireguard/discovery
pub async fn discover_wireguard(app: Arc<App>, call: Call) -> Result<Reply> {
    discover(app, call, Source::Wireguard).await
}

fn node(call: &Call) -> NodeId {
    NodeId(call.param("node_id").to_ascii_lowercase())
}

fn nothing(source: Source) -> Error {
    Error::unavailable(format!("the node tells nothing of its {}", source.word()))
}

async fn raw(
    app: &App,
    call: &Call,
    source: Source,
    render: fn(&Reading, Timestamp) -> Option<Exposition>,
) -> Result<Reply> {
    let reading = metrics::read(app, &call.actor, &node(call)).await?;
    render(&reading, app.now()).map(Exposition::reply).ok_or_else(|| nothing(source))
}

/// The reference prints the host's numbers without the envelope, the original sends them in it: here they stand in both
/// places.
fn both_ways(app: &App, call: &Call, numbers: &impl Serialize) -> Result<Reply> {
    let mut body = json!(numbers);
    body["data"] = body.clone();
    body["meta"] = json!({"request_id": call.actor.request.request_id, "timestamp": app.now().rfc3339_micros()});
    Reply::bare_json(&body)
}

/// A bare array with an item per node in touch, read and sent piece by piece.
async fn discover(app: Arc<App>, call: Call, source: Source) -> Result<Reply> {
    let first = metrics::targets(&app, &call.actor, "", PIECE).await?;
    Ok(Reply::stream("application/json", pieces(app, call.actor, source, first)))
}

fn pieces(
    app: Arc<App>,
    actor: Actor,
    source: Source,
    first: Vec<Target>,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let base = app.config.metrics_base_url.clone();
    let written = move |targets: &[Target], begin: bool, end: bool| -> std::io::Result<Bytes> {
        let mut text = Vec::from(if begin { "[" } else { "" });
        for (n, target) in targets.iter().enumerate() {
            if n > 0 || !begin {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &dto::scrape_target(target, source, &base))?;
        }
        text.extend_from_slice(if end { b"]" } else { b"" });
        Ok(text.into())
    };
    let state = Some((first, true));
    stream::unfold(state, move |state| {
        let (app, actor, written) = (app.clone(), actor.clone(), written.clone());
        async move {
            let (targets, begin) = state?;
            let last = targets.last().filter(|_| targets.len() as i64 == PIECE);
            let next = match last {
                Some(last) => match metrics::targets(&app, &actor, last.node_id.as_str(), PIECE).await {
                    Ok(more) => Some(more).filter(|more| !more.is_empty()),
                    // Half an array is no array: the client sees that the answer broke off.
                    Err(error) => return Some((Err(std::io::Error::other(error.to_string())), None)),
                },
                None => None,
            };
            let piece = written(&targets, begin, next.is_none());
            Some((piece, next.map(|more| (more, false))))
        }
    })
    .boxed()
}
