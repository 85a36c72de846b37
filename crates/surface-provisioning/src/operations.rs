//! Operations.

use std::sync::Arc;

use futures::stream::{once, unfold};
use futures::{StreamExt, future};
use reeve_domain::App;
use reeve_domain::job::{Follow, Progress};
use reeve_domain::operation;
use reeve_http_kit::sse::{self, Event};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Actor, Error, OperationId, Page, Result};
use serde::Serialize;

use crate::dto::operation::{DetailView, LogQuery, Piece, Query, View};
use crate::ids;

/// GET /v1/operations
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let filter = query.filter()?;
    let Some(page) = query.page() else {
        let lines = operation::lines(&app, &call.actor, &filter).await?;
        return Reply::ok(&lines.into_iter().map(View::from).collect::<Vec<_>>());
    };
    let found = operation::list(&app, &call.actor, &filter, page).await?;
    let total = found.total;
    paged(
        Reply::ok(&found.items.into_iter().map(View::from).collect::<Vec<_>>())?,
        &call,
        "/v1/operations",
        page,
        total,
    )
}

/// Tells of the other pages, in headers: the body stays a bare array.
pub fn paged(reply: Reply, call: &Call, path: &str, page: Page, total: u64) -> Result<Reply> {
    let last = total.div_ceil(page.size.max(1)).max(1);
    let mut kept: Vec<String> = Vec::new();
    for (name, value) in call.query.iter().filter(|(name, _)| !matches!(name.as_str(), "page" | "per_page")) {
        kept.push(format!("{name}={}", escaped(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))));
    }
    let link = |number: u64, relation: &str| {
        let mut query = kept.clone();
        query.push(format!("page={number}"));
        query.push(format!("per_page={}", page.size));
        format!("<{path}?{}>; rel=\"{relation}\"", query.join("&"))
    };
    let mut links = vec![link(1, "first")];
    if page.number > 1 {
        links.push(link((page.number - 1).min(last), "prev"));
    }
    if page.number < last {
        links.push(link(page.number + 1, "next"));
    }
    links.push(link(last, "last"));
    reply.with("x-total-count", &total.to_string())?.with("link", &links.join(", "))
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// GET /v1/operations/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(operation::get(&app, &call.actor, &ids::operation(&call)).await?))
}

/// GET /v1/operations/{id}/detail
pub async fn detail(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&DetailView::from(operation::detail(&app, &call.actor, &ids::operation(&call)).await?))
}

/// POST /v1/operations/{id}/cancel
pub async fn cancel(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(operation::cancel(&app, &call.actor, &ids::operation(&call)).await?))
}

/// POST /v1/operations/{id}/retry
pub async fn retry(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(operation::retry(&app, &call.actor, &ids::operation(&call)).await?))
}

/// GET /v1/operations/{id}/log
pub async fn log(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: LogQuery = call.query()?;
    let piece = operation::log(&app, &call.actor, &ids::operation(&call), query.offset, query.limit).await?;
    let complete = if piece.complete { "true" } else { "false" };
    Reply::text(piece.text).with("x-next-offset", &piece.next_offset.to_string())?.with("x-complete", complete)
}

/// What a stream is made from.
struct Watch {
    app: Arc<App>,
    actor: Actor,
    id: OperationId,
    follow: Follow,
}

/// GET /v1/operations/{id}/stream
pub async fn stream(app: Arc<App>, call: Call) -> Result<Reply> {
    let offset = match call.last_event_id() {
        Some(id) => id.parse().ok().filter(|offset| *offset >= 0),
        None => Some(0),
    };
    let offset = offset.ok_or_else(|| Error::invalid("Last-Event-ID", "is not a byte offset of this stream"))?;
    let id = ids::operation(&call);
    let Some(follow) = operation::follow(&app, &call.actor, &id, offset).await? else {
        let end = told(&app, &call.actor, &id, "end").await?;
        return sse::reply(once(future::ready(end)), call.draining.clone());
    };
    let watch = Watch { app, actor: call.actor.clone(), id, follow };
    let events = unfold(watch, |mut watch| async move {
        let event = next(&mut watch).await;
        // The status line is long gone: the stream ends without its last event, and clients resume.
        let event = event.inspect_err(|error| tracing::warn!(error = ?error, "a stream broke off")).ok()??;
        Some((event, watch))
    });
    sse::reply(events.boxed(), call.draining.clone())
}

async fn next(watch: &mut Watch) -> Result<Option<Event>> {
    let Some(progress) = watch.follow.next().await? else { return Ok(None) };
    Ok(Some(match progress {
        Progress::Output { offset, next_offset, text } => {
            Event::new("output", json(&Piece { offset, next_offset, text })?).with_id(next_offset)
        }
        Progress::Job(_) => told(&watch.app, &watch.actor, &watch.id, "operation").await?,
        Progress::End(_) => told(&watch.app, &watch.actor, &watch.id, "end").await?,
    }))
}

async fn told(app: &App, actor: &Actor, id: &OperationId, event: &str) -> Result<Event> {
    Ok(Event::new(event, json(&DetailView::from(operation::detail(app, actor, id).await?))?))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}
