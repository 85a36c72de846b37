//! The way from the executor and its runners to whatever connection is open at the moment, if any.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reeve_agent_proto::message::{AgentMessage, OutputChunk};
use tokio::sync::mpsc;

/// Live output that may wait for a slow connection, in bytes; more is dropped, the result carries everything.
const LIVE_BUDGET: usize = 256 * 1024;

/// Shared by everybody who has something to tell the server.
#[derive(Clone, Default)]
pub struct Uplink {
    current: Arc<Mutex<Option<Link>>>,
}

#[derive(Clone)]
struct Link {
    messages: mpsc::UnboundedSender<Outgoing>,
    live_bytes: Arc<AtomicUsize>,
}

/// A message on its way to the connection.
pub struct Outgoing {
    /// The message.
    pub message: AgentMessage,
    live: usize,
}

/// The connection's end.
pub struct Outbox {
    messages: mpsc::UnboundedReceiver<Outgoing>,
    live_bytes: Arc<AtomicUsize>,
}

impl Uplink {
    /// Messages go to a new connection from now on.
    pub fn connect(&self) -> Outbox {
        let (sender, messages) = mpsc::unbounded_channel();
        let live_bytes = Arc::new(AtomicUsize::new(0));
        *self.lock() = Some(Link { messages: sender, live_bytes: live_bytes.clone() });
        Outbox { messages, live_bytes }
    }

    /// There is no connection any more.
    pub fn disconnect(&self) {
        *self.lock() = None;
    }

    /// Sends, or returns false when there is no connection. Only for messages whose number is bounded, by the
    /// executions the agent knows or by who sends them.
    pub fn send(&self, message: impl Into<AgentMessage>) -> bool {
        let link = self.lock().clone();
        link.is_some_and(|link| link.messages.send(Outgoing { message: message.into(), live: 0 }).is_ok())
    }

    /// Sends live output, or returns false when it had to be dropped.
    pub fn send_live(&self, chunk: OutputChunk) -> bool {
        let Some(link) = self.lock().clone() else {
            return false;
        };
        let live = chunk.text.len();
        if link.live_bytes.fetch_add(live, Ordering::Relaxed) + live > LIVE_BUDGET {
            link.live_bytes.fetch_sub(live, Ordering::Relaxed);
            return false;
        }
        link.messages.send(Outgoing { message: chunk.into(), live }).is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// The next message; never ends while this is the current connection.
    pub async fn recv(&mut self) -> Option<AgentMessage> {
        let outgoing = self.messages.recv().await?;
        Some(self.release(outgoing))
    }

    /// The next message, if one waits.
    pub fn try_recv(&mut self) -> Option<AgentMessage> {
        let outgoing = self.messages.try_recv().ok()?;
        Some(self.release(outgoing))
    }

    fn release(&self, outgoing: Outgoing) -> AgentMessage {
        self.live_bytes.fetch_sub(outgoing.live, Ordering::Relaxed);
        outgoing.message
    }
}
