//! Answers what the server asks, and measures when it is time to. One measurement runs at a time, off the event loop:
//! a file system that hangs must not stop the agent, and whoever asks meanwhile shares the next one.

use reeve_agent_proto::sample::{Answer, Answered, Ask, Asked, Refused};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::sample::Sampler;
use crate::uplink::Uplink;

/// Questions that may wait; more are refused.
const QUEUE: usize = 64;

/// Takes questions from the connection.
pub struct Desk {
    uplink: Uplink,
    wanted: mpsc::Sender<Wanted>,
}

/// Who wants a sample.
enum Wanted {
    /// It is time to push one.
    Push,
    /// The server asked, with this number.
    Answer(u64),
}

impl Desk {
    /// Starts answering through `uplink`; ends when this is dropped.
    pub fn open(sampler: Sampler, uplink: Uplink) -> Self {
        let (wanted, requests) = mpsc::channel(QUEUE);
        tokio::spawn(measure(sampler, uplink.clone(), requests));
        Self { uplink, wanted }
    }

    /// Sends a sample soon.
    pub fn push(&self) {
        // Full means that a measurement hangs: the next push tries again.
        if self.wanted.try_send(Wanted::Push).is_err() {
            tracing::warn!("no sample was sent: a measurement does not end");
        }
    }

    /// Answers a question soon.
    pub fn answer(&self, ask: Ask) {
        match ask.question {
            Some(Asked::Sample(_)) if self.wanted.try_send(Wanted::Answer(ask.id)).is_ok() => {}
            Some(Asked::Sample(_)) => self.refuse(ask.id, "busy", "a measurement on this node does not end"),
            None => self.refuse(ask.id, "unsupported", "this agent does not know the question; update it"),
        }
    }

    fn refuse(&self, id: u64, error: &str, message: &str) {
        let refused = Refused { error: error.to_owned(), message: message.to_owned() };
        self.uplink.send(Answer { id, answer: Some(Answered::Refused(refused)) });
    }
}

async fn measure(sampler: Sampler, uplink: Uplink, mut requests: mpsc::Receiver<Wanted>) {
    let mut waiting = Vec::new();
    while requests.recv_many(&mut waiting, QUEUE).await > 0 {
        let sampler = sampler.clone();
        let tasks = u64::try_from(Handle::current().metrics().num_alive_tasks()).ok();
        let Ok(sample) = spawn_blocking(move || sampler.take(tasks)).await else {
            tracing::error!("a measurement broke");
            continue;
        };
        for wanted in waiting.drain(..) {
            match wanted {
                Wanted::Push => uplink.send(sample.clone()),
                Wanted::Answer(id) => {
                    uplink.send(Answer { id, answer: Some(Answered::Sample(Box::new(sample.clone()))) })
                }
            };
        }
    }
}
