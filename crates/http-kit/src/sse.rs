//! Server-sent events with keep-alive comments and bounded buffering.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt, unfold};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::reply::Reply;

/// What marks a stream of events.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream";

/// A silent stream says `: keep-alive` this often, so that proxies and clients know it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `id:`; None leaves the client's last id as it is.
    pub id: Option<String>,
    /// `event:`; None is the default type `message`.
    pub event: Option<String>,
    /// `data:`, one line for each line of it.
    pub data: String,
}

impl Event {
    /// An event with a type and data.
    pub fn new(event: &str, data: impl Into<String>) -> Self {
        Self { id: None, event: Some(event.to_owned()), data: data.into() }
    }

    /// Sets the id that a client resumes from.
    #[must_use]
    pub fn with_id(mut self, id: impl ToString) -> Self {
        self.id = Some(id.to_string());
        self
    }

    fn encode(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 48);
        for (field, value) in [("id", &self.id), ("event", &self.event)] {
            if let Some(value) = value {
                // A line break would start another field.
                let value: String = value.chars().filter(|c| !matches!(c, '\n' | '\r' | '\0')).collect();
                // Writing to a String cannot fail.
                writeln!(text, "{field}: {value}").unwrap_or_default();
            }
        }
        for line in self.data.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            for part in line.split('\r') {
                writeln!(text, "data: {part}").unwrap_or_default();
            }
        }
        text.push('\n');
        text.into()
    }
}

/// The sending half of [`channel`].
pub type Sender = mpsc::Sender<Event>;

/// A bounded way into a stream: a slow client slows the sender down instead of filling the memory. The sender fails when
/// the client is gone.
pub fn channel(capacity: usize) -> (Sender, BoxStream<'static, Event>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let events = unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) });
    (sender, events.boxed())
}

/// Answers with events until they end or the server drains.
pub fn reply(
    events: impl Stream<Item = Event> + Send + 'static,
    draining: CancellationToken,
) -> reeve_types::Result<Reply> {
    reply_every(events, draining, KEEP_ALIVE)
}

fn reply_every(
    events: impl Stream<Item = Event> + Send + 'static,
    draining: CancellationToken,
    keep_alive: Duration,
) -> reeve_types::Result<Reply> {
    let state = (events.boxed(), draining, false);
    let bytes = unfold(state, move |(mut events, draining, greeted)| async move {
        if !greeted {
            // Some clients report the connection only after the first byte.
            return Some((Ok(Bytes::from_static(b": connected\n\n")), (events, draining, true)));
        }
        tokio::select! {
            biased;
            event = events.next() => event.map(|event| (Ok(event.encode()), (events, draining, true))),
            () = draining.cancelled() => None,
            () = tokio::time::sleep(keep_alive) => Some((Ok(Bytes::from_static(b": keep-alive\n\n")), (events, draining, true))),
        }
    });
    Reply::stream(CONTENT_TYPE, bytes.boxed()).with("x-accel-buffering", "no")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Content;
    use http_body_util::BodyExt;

    async fn text(reply: Reply) -> String {
        let Content::Raw { body, .. } = reply.content else { panic!("not raw") };
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn fields_cannot_be_smuggled_and_lines_are_kept() {
        let event = Event::new("out\nput", "a\r\nb\rc\n").with_id("1\n2");
        let reply = reply(futures::stream::iter([event]), CancellationToken::new()).unwrap();
        assert_eq!(text(reply).await, ": connected\n\nid: 12\nevent: output\ndata: a\ndata: b\ndata: c\ndata: \n\n");
    }

    #[tokio::test]
    async fn silence_is_filled_and_drain_ends_the_stream() {
        let draining = CancellationToken::new();
        let reply = reply_every(futures::stream::pending(), draining.clone(), Duration::from_millis(2)).unwrap();
        let Content::Raw { mut body, .. } = reply.content else { panic!("not raw") };
        for expected in [": connected\n\n", ": keep-alive\n\n", ": keep-alive\n\n"] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        draining.cancel();
        // At most the keep-alive that was due at the same moment is left.
        assert!(text(Reply::raw("text/event-stream", body)).await.len() <= ": keep-alive\n\n".len());
    }

    #[tokio::test]
    async fn a_full_channel_waits_and_a_lost_client_is_noticed() {
        let (sender, mut events) = channel(1);
        sender.send(Event::new("a", "1")).await.unwrap();
        assert!(sender.try_send(Event::new("a", "2")).is_err());
        assert_eq!(events.next().await.unwrap().data, "1");
        drop(events);
        assert!(sender.send(Event::new("a", "3")).await.is_err());
    }
}
