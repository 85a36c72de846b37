//! Live questions to agents that are connected to another server: a letter there, a letter back, within the deadline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_ports::{Answer, Question, Unreached};
use reeve_store::letter::Letter;
use reeve_store::node;
use reeve_types::{NodeId, ServerId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::letters;
use crate::App;

/// Questions of this server that may wait for answers of others.
const WAITING: usize = 4_096;
/// Questions of others that are put to agents here at once.
const AT_ONCE: usize = 512;
/// Letters that may wait to be sent.
const TRAY: usize = 8_192;
/// Longest answer passed on, in bytes.
const LONGEST: usize = 512 * 1024;
/// What the way back may take of the asker's time.
const WAY_BACK: Duration = Duration::from_millis(50);

pub(super) const QUESTION: &str = "question";
pub(super) const ANSWER: &str = "answer";

#[derive(Serialize, Deserialize)]
struct Asked {
    number: u64,
    node: NodeId,
    question: Question,
    patience_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Answered {
    number: u64,
    answer: Result<Answer, Unreached>,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Answer, Unreached>>>;

/// This server's correspondence: what it waits for, and what waits to be sent.
#[derive(Debug)]
pub struct Desk {
    numbers: AtomicU64,
    waiting: Mutex<Waiting>,
    at_once: Arc<Semaphore>,
    out: mpsc::Sender<Letter>,
    out_tray: Mutex<Option<mpsc::Receiver<Letter>>>,
}

impl Default for Desk {
    fn default() -> Self {
        let (out, tray) = mpsc::channel(TRAY);
        Self {
            numbers: AtomicU64::default(),
            waiting: Mutex::default(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            out,
            out_tray: Mutex::new(Some(tray)),
        }
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_out_tray(&self) -> Option<mpsc::Receiver<Letter>> {
        self.out_tray.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put_out(&self, letter: Letter) -> bool {
        self.out.try_send(letter).is_ok()
    }
}

/// Asks an agent, wherever it is connected, and waits for its answer, at most for `deadline`.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(app: &App, node: &NodeId, question: Question, deadline: Duration) -> Result<Answer, Unreached> {
    if app.agents().is_connected(node) || !app.store.is_shared() {
        return app.agents().ask(node, question, deadline).await;
    }
    let asked = async {
        let Some(server) = holder(app, node).await? else { return Err(Unreached::NotConnected) };
        ask_there(app, &server, node, question, deadline).await
    };
    tokio::time::timeout(deadline, asked).await.unwrap_or(Err(Unreached::TimedOut))
}

/// The other server that has the agent's connection.
async fn holder(app: &App, id: &NodeId) -> Result<Option<ServerId>, Unreached> {
    let looked_up = async {
        let mut tx = app.store.read().await?;
        node::holders(&mut tx, std::slice::from_ref(id)).await
    };
    match looked_up.await {
        Ok(holders) => Ok(holders.into_iter().map(|(_, server)| server).find(|server| *server != app.server_id)),
        Err(error) => {
            tracing::warn!(%error, node.id = %id, "it could not be looked up where an agent is connected");
            Err(Unreached::Lost)
        }
    }
}

/// Takes the number out again, whatever becomes of the question.
struct Seat<'a>(&'a Desk, u64);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

async fn ask_there(
    app: &App,
    server: &ServerId,
    node: &NodeId,
    question: Question,
    deadline: Duration,
) -> Result<Answer, Unreached> {
    let desk = &app.membership.desk;
    // Numbers of an earlier start of this server are behind: a late answer to one of them fits no question.
    let epoch = u64::try_from(app.holder().epoch).unwrap_or_default();
    let number = epoch.wrapping_add(desk.numbers.fetch_add(1, Ordering::Relaxed));
    let (told, hears) = oneshot::channel();
    {
        let mut waiting = desk.waiting();
        if waiting.len() >= WAITING {
            return Err(Unreached::Busy);
        }
        waiting.insert(number, told);
    }
    let _seat = Seat(desk, number);
    let patience = deadline.saturating_sub(WAY_BACK).max(deadline / 2);
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let body = serde_json::to_string(&Asked { number, node: node.clone(), question, patience_ms });
    let body = body.map_err(|error| Unreached::Refused(error.to_string()))?;
    let life_ms = i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX);
    if !letters::queue(app, server, QUESTION, body, life_ms) {
        return Err(Unreached::Busy);
    }
    hears.await.unwrap_or(Err(Unreached::Lost))
}

/// Puts another server's question to an agent that is connected here, and sends the answer back.
pub(super) fn asked(app: &Arc<App>, letter: Letter) {
    let asked: Asked = match serde_json::from_str(&letter.body) {
        Ok(asked) => asked,
        Err(error) => return letters::unreadable(&letter, &error),
    };
    let Ok(permit) = app.membership.desk.at_once.clone().try_acquire_owned() else {
        return reply(app, &letter, asked.number, Err(Unreached::Busy));
    };
    let app = app.clone();
    tokio::spawn(async move {
        // Here and nowhere else: an agent that moved on meanwhile is asked anew by whoever wants to know.
        let answer = app.agents().ask(&asked.node, asked.question, Duration::from_millis(asked.patience_ms)).await;
        reply(&app, &letter, asked.number, answer);
        drop(permit);
    });
}

fn reply(app: &App, letter: &Letter, number: u64, answer: Result<Answer, Unreached>) {
    let body = match serde_json::to_string(&Answered { number, answer }) {
        Ok(body) if body.len() <= LONGEST => Ok(body),
        Ok(_) => serde_json::to_string(&Answered {
            number,
            answer: Err(Unreached::Refused("the answer is too long".into())),
        }),
        Err(error) => Err(error),
    };
    match body {
        Ok(body) => {
            if !letters::queue(app, &letter.from, ANSWER, body, letter.life_ms) {
                tracing::warn!(to = %letter.from, "an answer to another server was dropped: too many wait");
            }
        }
        Err(error) => tracing::error!(%error, "an answer cannot be written down"),
    }
}

/// Tells who asked that the question did not leave this server.
pub(super) fn unsent(app: &App, letter: &Letter) {
    match serde_json::from_str::<Asked>(&letter.body) {
        Ok(asked) => {
            if let Some(waits) = app.membership.desk.waiting().remove(&asked.number) {
                // Who gave up in this moment does not want it.
                waits.send(Err(Unreached::Lost)).ok();
            }
        }
        Err(error) => letters::unreadable(letter, &error),
    }
}

/// Hands an answer to whoever waits for it.
pub(super) fn answered(app: &App, letter: &Letter) {
    match serde_json::from_str::<Answered>(&letter.body) {
        Ok(answered) => {
            if let Some(waits) = app.membership.desk.waiting().remove(&answered.number) {
                // Who gave up in this moment does not want it.
                waits.send(answered.answer).ok();
            }
        }
        Err(error) => letters::unreadable(letter, &error),
    }
}
