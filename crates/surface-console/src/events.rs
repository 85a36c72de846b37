//! The feed of events, as a page or as a stream.

use futures::stream::unfold;
use reeve_domain::event;
use reeve_http_kit::sse::{self, Event};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::routes::State;

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "type")]
    kind: Option<String>,
    after: Option<i64>,
    limit: Option<i64>,
}

/// GET /api/events
pub async fn list(state: State, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let kinds = query.kind.iter().flat_map(|k| k.split(',')).map(|k| k.trim().to_owned()).collect::<Vec<_>>();
    if call.accepts("text/event-stream") {
        return follow(state, &call, query.after, kinds).await;
    }
    let most = query.limit.unwrap_or(100);
    let found = match query.after {
        Some(after) => event::after(&state.app, &call.actor, after, &kinds).await?,
        None => event::newest(&state.app, &call.actor, &kinds, most).await?,
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let shown = found.iter().take(most).map(|e| RawValue::from_string(event::envelope(&state.app, e)));
    Reply::ok(&shown.collect::<Result<Vec<_>, _>>().map_err(Error::internal)?)
}

async fn follow(state: State, call: &Call, after: Option<i64>, kinds: Vec<String>) -> Result<Reply> {
    let resume = match call.last_event_id() {
        Some(id) => Some(id.parse().map_err(|_| Error::invalid("Last-Event-ID", "is not a position of the feed"))?),
        None => after,
    };
    let feed = event::follow(&state.app, &call.actor, resume, kinds).await?;
    let events = unfold((feed, state), |(mut feed, state)| async move {
        match feed.next().await {
            Ok(found) => {
                let shown = Event::new(&found.kind, event::envelope(&state.app, &found)).with_id(found.seq);
                Some((shown, (feed, state)))
            }
            Err(error) => {
                tracing::warn!(error = ?error, "the feed broke off");
                None
            }
        }
    });
    sse::reply(events, call.draining.clone())
}
