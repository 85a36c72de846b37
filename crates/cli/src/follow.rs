//! Event streams that survive a broken connection: a task reads, reconnects with `Last-Event-ID`, and hands batches of
//! events through a bounded channel, so that a slow terminal slows the stream down instead of filling memory.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::{Api, Query};
use crate::failure::{Failure, Outcome};
use crate::sse::{Event, Parser};
use crate::world::Pace;

const BATCHES_AHEAD: usize = 16;

/// What a followed stream has to say.
#[derive(Debug)]
pub enum Step {
    /// Events, in order, that arrived together.
    Events(Vec<Event>),
    /// The connection broke and is being taken up again.
    Lost(String),
    /// The connection stands again.
    Resumed,
    /// The stream cannot go on.
    Failed(Failure),
}

/// A stream being followed; dropping it closes the connection.
pub struct Follow {
    steps: mpsc::Receiver<Step>,
    task: JoinHandle<()>,
}

/// What to follow.
pub struct Source {
    /// The path below the base URL.
    pub path: String,
    /// Query parameters.
    pub query: Query,
    /// Where to begin, if not at the stream's own beginning.
    pub last_event_id: Option<String>,
    /// Whether a first connection that fails is retried like a later one.
    pub patient: bool,
}

impl Source {
    /// A stream from its beginning, which has to be there at once.
    pub fn beginning(path: String) -> Self {
        Self { path, query: Query::new(), last_event_id: None, patient: false }
    }
}

impl Follow {
    /// Starts following.
    pub fn start(api: Arc<Api>, source: Source, pace: Pace) -> Self {
        let (sender, steps) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(async move {
            if let Err(failure) = follow(&api, source, pace, &sender).await {
                // Nobody left to tell means that nobody wants the stream any more.
                sender.send(Step::Failed(failure)).await.ok();
            }
        });
        Self { steps, task }
    }

    /// The next step; cancel safe. A stream that is over for good fails.
    pub async fn next(&mut self) -> Step {
        match self.steps.recv().await {
            Some(step) => step,
            None => Step::Failed(Failure::local_with("the stream ended", "ask again; the work goes on at the server")),
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: &Api, source: Source, pace: Pace, steps: &mpsc::Sender<Step>) -> Outcome<()> {
    let mut last_event_id = source.last_event_id;
    let mut retry_ms = None;
    let mut attempt = 0;
    let mut connected_before = source.patient;
    loop {
        let why = match api.stream(&source.path, &source.query, last_event_id.as_deref()).await {
            Ok(mut response) => {
                if attempt > 0 && steps.send(Step::Resumed).await.is_err() {
                    return Ok(());
                }
                connected_before = true;
                let mut parser = Parser::resuming(last_event_id.take());
                let why = loop {
                    let chunk = match response.chunk().await {
                        Ok(Some(chunk)) => chunk,
                        Ok(None) => break "the server closed the stream".to_owned(),
                        Err(error) => break why_of(&api.unreachable(&error)),
                    };
                    let mut events = Vec::new();
                    if parser.feed(&chunk, &mut events).is_err() {
                        return Err(Failure::local("the server sent an event that is too long"));
                    }
                    if !events.is_empty() {
                        attempt = 0;
                        if steps.send(Step::Events(events)).await.is_err() {
                            return Ok(());
                        }
                    }
                };
                last_event_id = parser.last_event_id().map(str::to_owned);
                retry_ms = parser.retry_ms().or(retry_ms);
                why
            }
            Err(failure) if connected_before && is_passing(&failure) => why_of(&failure),
            Err(failure) => return Err(failure),
        };
        attempt += 1;
        if attempt > pace.attempts {
            return Err(Failure::Unreachable {
                url: api.url.clone(),
                why,
                next: "the work goes on at the server; look again when it is back".to_owned(),
            });
        }
        if attempt == 1 && steps.send(Step::Lost(why)).await.is_err() {
            return Ok(());
        }
        let wait = retry_ms
            .filter(|_| attempt == 1)
            .map_or_else(|| pace.wait(attempt), |ms| std::time::Duration::from_millis(ms).min(pace.most));
        tokio::time::sleep(wait).await;
    }
}

/// The reason in a few words: the server's address is known by now.
fn why_of(failure: &Failure) -> String {
    match failure {
        Failure::Unreachable { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

/// Whether trying again may help.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(refusal) => refusal.status >= 500 || refusal.status == 429,
        Failure::Usage { .. }
        | Failure::NoServer { .. }
        | Failure::Local { .. }
        | Failure::PipeClosed
        | Failure::Interrupted => false,
    }
}

/// How far the output of each execution has been shown, so that a resumed stream repeats and loses nothing.
#[derive(Debug, Default)]
pub struct Offsets(HashMap<String, u64>);

impl Offsets {
    /// The part of a chunk that is new. `offset` is where it starts in the output, `next` where it ends, if known.
    pub fn accept<'a>(&mut self, execution: &str, offset: u64, next: Option<u64>, text: &'a str) -> &'a str {
        // A byte that was no UTF-8 is three bytes as text. Without the server's own end, the least that the text can have
        // been counts: better a byte twice than one lost.
        let replaced = text.matches(char::REPLACEMENT_CHARACTER).count() as u64;
        let end = next.filter(|next| *next >= offset).unwrap_or(offset + text.len() as u64 - 2 * replaced);
        let seen = self.0.entry(execution.to_owned()).or_default();
        if end <= *seen {
            return "";
        }
        let known = seen.saturating_sub(offset);
        *seen = end;
        let mut start = usize::try_from(known).unwrap_or(usize::MAX).min(text.len());
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_neither_repeated_nor_lost() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.accept("a", 0, Some(5), "hello"), "hello");
        assert_eq!(offsets.accept("a", 0, None, "hello"), "");
        assert_eq!(offsets.accept("a", 3, None, "lo world"), " world");
        assert_eq!(offsets.accept("b", 0, None, "other"), "other");
        assert_eq!(offsets.accept("a", 11, None, "!"), "!");
    }

    #[test]
    fn a_chunk_that_is_longer_as_text_does_not_swallow_the_next() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.accept("a", 0, Some(1), "\u{fffd}"), "\u{fffd}");
        assert_eq!(offsets.accept("a", 1, Some(3), "ok"), "ok");
        assert_eq!(offsets.accept("b", 0, None, "\u{fffd}\u{fffd}"), "\u{fffd}\u{fffd}");
        assert_eq!(offsets.accept("b", 2, None, "ok"), "ok");
    }

    #[test]
    fn a_cut_inside_a_letter_moves_to_its_end() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.accept("a", 0, Some(1), "x"), "x");
        assert_eq!(offsets.accept("a", 0, None, "é!"), "!");
    }
}
