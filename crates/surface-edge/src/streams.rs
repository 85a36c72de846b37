//! Following commands and executions as server-sent events.

use std::sync::Arc;

use futures::stream::unfold;
use reeve_domain::App;
use reeve_domain::command::{self, Progress};
use reeve_http_kit::sse::{self, Event};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result};

use crate::dto::command::Summary;
use crate::dto::execution::{Chunk, View};
use crate::ids;

/// GET /api/v1/commands/{id}/stream
pub async fn command(app: Arc<App>, call: Call) -> Result<Reply> {
    let resume = call.last_event_id().map(str::to_owned);
    let watch = command::watch(&app, &call.actor, &ids::of(&call), resume).await?;
    let events = unfold(watch, |mut watch| async move {
        let event = encoded(watch.next().await, |_| None)?;
        let id = watch.token();
        Some((Event { id, ..event }, watch))
    });
    sse::reply(events, call.draining.clone())
}

/// GET /api/v1/command_executions/{id}/stream
pub async fn execution(app: Arc<App>, call: Call) -> Result<Reply> {
    let offset = call.last_event_id().map_or(Ok(0), offset)?;
    let watch = command::watch_execution(&app, &call.actor, &ids::of(&call), offset).await?;
    let events = unfold(watch, |mut watch| async move {
        let event = encoded(watch.next().await, |next_offset| Some(next_offset.to_string()))?;
        Some((event, watch))
    });
    sse::reply(events, call.draining.clone())
}

fn offset(id: &str) -> Result<i64> {
    let offset = id.parse().ok().filter(|offset| *offset >= 0);
    offset.ok_or_else(|| Error::invalid("Last-Event-ID", "is not a byte offset of this stream"))
}

/// The event that tells of `progress`; None at the end. `id` makes the id of an output from the offset after it.
fn encoded(progress: Result<Option<Progress>>, id: impl Fn(i64) -> Option<String>) -> Option<Event> {
    let event = match progress {
        Ok(progress) => event(progress?, id),
        Err(error) => Err(error),
    };
    // The status line is long gone: the stream ends without its last event, and clients resume.
    event.inspect_err(|error| tracing::warn!(error = ?error, "a stream broke off")).ok()
}

fn event(progress: Progress, id: impl Fn(i64) -> Option<String>) -> Result<Event> {
    let (name, id, data) = match progress {
        Progress::Output { execution_id, node_id, offset, next_offset, text } => {
            let chunk = Chunk { execution_id, node_id, offset, next_offset, text };
            ("output", id(next_offset), serde_json::to_string(&chunk))
        }
        Progress::Execution(mut execution) => {
            execution.output = None;
            ("execution", None, serde_json::to_string(&View::from(*execution)))
        }
        Progress::End(summary) => ("end", None, serde_json::to_string(&Summary::from(summary))),
        Progress::Ended(execution) => ("end", None, serde_json::to_string(&View::from(*execution))),
    };
    Ok(Event { id, ..Event::new(name, data.map_err(Error::internal)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::command::CommandSummary;

    #[test]
    fn output_carries_the_offset_after_it() {
        let progress =
            Progress::Output { execution_id: "e".into(), node_id: None, offset: 2, next_offset: 5, text: "llo".into() };
        let event = encoded(Ok(Some(progress)), |next| Some(next.to_string())).unwrap();
        assert_eq!((event.id.as_deref(), event.event.as_deref()), (Some("5"), Some("output")));
        assert_eq!(event.data, r#"{"execution_id":"e","node_id":null,"offset":2,"next_offset":5,"text":"llo"}"#);
    }

    #[test]
    fn streams_end_with_the_summary_or_at_an_error() {
        let end = encoded(Ok(Some(Progress::End(CommandSummary::default()))), |_| None).unwrap();
        assert_eq!(end.event.as_deref(), Some("end"));
        assert!(encoded(Ok(None), |_| None).is_none());
        assert!(encoded(Err(Error::not_found("execution")), |_| None).is_none());
    }

    #[test]
    fn a_position_of_another_stream_is_refused() {
        assert_eq!(offset("12").unwrap(), 12);
        assert!(offset("-1").is_err());
        assert!(offset("7.abc").is_err());
    }
}
