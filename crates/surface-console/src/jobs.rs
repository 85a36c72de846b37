//! Jobs, and what recurs.

use std::sync::Arc;

use futures::stream::unfold;
use reeve_domain::job::{self, Follow, Progress};
use reeve_domain::recurring::{self, Recurs};
use reeve_domain::{App, job::Filter};
use reeve_http_kit::sse::{self, Event};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, JobId, Result};
use serde_json::json;

use crate::dto::job::{OutputQuery, Piece, Query, RecurringView, View};

fn id(call: &Call) -> JobId {
    JobId::from(call.param("id"))
}

/// GET /api/jobs
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let filter: Filter = query.try_into()?;
    Reply::page(&job::list(&app, &call.actor, &filter, call.page()).await?.map(View::from))
}

/// GET /api/jobs/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(job::get(&app, &call.actor, &id(&call)).await?))
}

/// POST /api/jobs/{id}/cancel
pub async fn cancel(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(job::cancel(&app, &call.actor, &id(&call)).await?))
}

/// POST /api/jobs/{id}/retry
pub async fn retry(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(job::retry(&app, &call.actor, &id(&call)).await?))
}

/// GET /api/jobs/{id}/output
pub async fn output(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: OutputQuery = call.query()?;
    let piece = job::output(&app, &call.actor, &id(&call), query.offset, query.limit).await?;
    let complete = if piece.complete { "true" } else { "false" };
    Reply::text(piece.text).with("x-next-offset", &piece.next_offset.to_string())?.with("x-complete", complete)
}

/// GET /api/jobs/{id}/stream
pub async fn stream(app: Arc<App>, call: Call) -> Result<Reply> {
    let offset = match call.last_event_id() {
        Some(id) => id.parse().ok().filter(|offset| *offset >= 0),
        None => Some(0),
    };
    let offset = offset.ok_or_else(|| Error::invalid("Last-Event-ID", "is not a byte offset of this stream"))?;
    let follow = job::follow(&app, &call.actor, &id(&call), offset).await?;
    let events = unfold(follow, |mut follow| async move {
        let event = next(&mut follow).await;
        // The status line is long gone: the stream ends without its last event, and clients resume.
        let event = event.inspect_err(|error| tracing::warn!(error = ?error, "a stream broke off")).ok()??;
        Some((event, follow))
    });
    sse::reply(events, call.draining.clone())
}

async fn next(follow: &mut Follow) -> Result<Option<Event>> {
    let Some(progress) = follow.next().await? else { return Ok(None) };
    let text = |json: serde_json::Result<String>| json.map_err(Error::internal);
    Ok(Some(match progress {
        Progress::Output { offset, next_offset, text: piece } => {
            let piece = Piece { offset, next_offset, text: piece };
            Event::new("output", text(serde_json::to_string(&piece))?).with_id(next_offset)
        }
        Progress::Job(job) => Event::new("job", text(serde_json::to_string(&View::from(*job)))?),
        Progress::End(job) => Event::new("end", text(serde_json::to_string(&View::from(*job)))?),
    }))
}

/// GET /api/schedules
pub async fn schedules(app: Arc<App>, call: Call) -> Result<Reply> {
    recurring(&app, &call, Recurs::Schedule).await
}

/// GET /api/reconcilers
pub async fn reconcilers(app: Arc<App>, call: Call) -> Result<Reply> {
    recurring(&app, &call, Recurs::Reconciler).await
}

async fn recurring(app: &App, call: &Call, what: Recurs) -> Result<Reply> {
    let views = recurring::list(app, &call.actor, what).await?;
    Reply::ok(&views.into_iter().map(RecurringView::from).collect::<Vec<_>>())
}

/// POST /api/schedules/{name}/poke
pub async fn poke_schedule(app: Arc<App>, call: Call) -> Result<Reply> {
    poke(&app, &call, Recurs::Schedule).await
}

/// POST /api/reconcilers/{name}/poke
pub async fn poke_reconciler(app: Arc<App>, call: Call) -> Result<Reply> {
    poke(&app, &call, Recurs::Reconciler).await
}

async fn poke(app: &App, call: &Call, what: Recurs) -> Result<Reply> {
    let name = call.param("name");
    recurring::poke(app, &call.actor, what, name).await?;
    Reply::accepted(&json!({ "name": name }))
}
