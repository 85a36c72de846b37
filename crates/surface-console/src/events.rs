//! The feed of events, as a page or as a stream.

use std::sync::Arc;

use futures::stream::unfold;
use reeve_domain::{App, event};
use reeve_http_kit::sse::{self, Event};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "type")]
    kind: Option<String>,
    after: Option<i64>,
    limit: Option<i64>,
}

/// GET /api/events
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let kinds = query.kind.iter().flat_map(|k| k.split(',')).map(|k| k.trim().to_owned()).collect::<Vec<_>>();
    if call.header("accept").is_some_and(|accept| accept.contains("text/event-stream")) {
        return follow(app, &call, query.after, kinds).await;
    }
    let most = query.limit.unwrap_or(100);
    let found = match query.after {
        Some(after) => event::after(&app, &call.actor, after, &kinds).await?,
        None => event::newest(&app, &call.actor, &kinds, most).await?,
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let shown = found.iter().take(most).map(|e| RawValue::from_string(event::envelope(&app, e)));
    Reply::ok(&shown.collect::<Result<Vec<_>, _>>().map_err(Error::internal)?)
}

async fn follow(app: Arc<App>, call: &Call, after: Option<i64>, kinds: Vec<String>) -> Result<Reply> {
    let resume = match call.last_event_id() {
        Some(id) => Some(id.parse().map_err(|_| Error::invalid("Last-Event-ID", "is not a position of the feed"))?),
        None => after,
    };
    let feed = event::follow(&app, &call.actor, resume, kinds).await?;
    let events = unfold((feed, app), |(mut feed, app)| async move {
        match feed.next().await {
            Ok(found) => {
                let shown = Event::new(&found.kind, event::envelope(&app, &found)).with_id(found.seq);
                Some((shown, (feed, app)))
            }
            Err(error) => {
                tracing::warn!(error = ?error, "the feed broke off");
                None
            }
        }
    });
    sse::reply(events, call.draining.clone())
}
