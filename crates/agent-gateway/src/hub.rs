//! Which agents are connected here, and the orders that wait for their connections.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_ports::agents::Order;
use reeve_ports::{AgentLink, Answer, Question, Unreached};
use reeve_types::NodeId;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Commands that may wait for one connection; more are found in the store again.
const QUEUE: usize = 4096;
/// Orders of all kinds that may wait for one connection. An agent keeps a result until it is told that it is stored, so
/// that word must find room behind a queue full of commands.
const ALL_ORDERS: usize = 4 * QUEUE;
/// Questions that may be open on one connection.
const QUESTIONS: usize = 64;

/// Why the server closes a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The same node has a newer connection.
    Replaced,
    /// Asked for, as when the node was deleted.
    Asked(String),
    /// It is to go to another server.
    Away,
    /// It has ended by itself.
    Ended,
}

/// One connection as the hub sees it.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    takes_questions: bool,
    state: Mutex<State>,
    /// Woken when there are orders or the connection is to be closed.
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    close: Option<Close>,
    open: Vec<Open>,
}

/// A question without an answer.
#[derive(Debug)]
struct Open {
    id: u64,
    question: Question,
    deadline: Duration,
    sent: bool,
    reply: oneshot::Sender<Result<Answer, Unreached>>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next order.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut state = self.lock();
        let order = state.orders.pop_front();
        if state.orders.is_empty() && state.orders.capacity() > 0 {
            state.orders = VecDeque::new();
        }
        order
    }

    /// The next question to send: its number, and how long its asker waits.
    pub(crate) fn take_question(&self) -> Option<(u64, Question, Duration)> {
        let mut state = self.lock();
        let open = state.open.iter_mut().find(|open| !open.sent)?;
        open.sent = true;
        Some((open.id, open.question, open.deadline))
    }

    /// Hands an answer to whoever asked. Answers that nobody waits for are dropped.
    pub(crate) fn answered(&self, id: u64, answer: Result<Answer, Unreached>) {
        if let Some(open) = self.close_question(id)
            && open.reply.send(answer).is_err()
        {
            tracing::debug!("an answer came when its asker had gone");
        }
    }

    /// Tells everybody who waits that the connection is gone.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.close.get_or_insert(Close::Ended);
        for open in state.open.drain(..) {
            if open.reply.send(Err(Unreached::Lost)).is_err() {
                tracing::debug!("nobody waits for an answer any more");
            }
        }
    }

    fn open_question(
        &self,
        id: u64,
        question: Question,
        deadline: Duration,
    ) -> Result<oneshot::Receiver<Result<Answer, Unreached>>, Unreached> {
        if !self.takes_questions {
            return Err(Unreached::Unsupported);
        }
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        match state.close {
            Some(_) => return Err(Unreached::NotConnected),
            None if state.open.len() >= QUESTIONS => return Err(Unreached::Busy),
            None => state.open.push(Open { id, question, deadline, sent: false, reply }),
        }
        drop(state);
        self.wake.notify_one();
        Ok(answer)
    }

    fn close_question(&self, id: u64) -> Option<Open> {
        let mut state = self.lock();
        let at = state.open.iter().position(|open| open.id == id)?;
        let open = state.open.swap_remove(at);
        if state.open.is_empty() {
            state.open = Vec::new();
        }
        Some(open)
    }

    /// Why the connection is to be closed, if it is.
    pub(crate) fn closing(&self) -> Option<Close> {
        self.lock().close.clone()
    }

    fn close(&self, why: Close) {
        self.lock().close.get_or_insert(why);
        self.wake.notify_one();
    }
}

/// The connections of this server.
#[derive(Debug, Default)]
pub struct Hub {
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    numbers: AtomicU64,
}

impl Hub {
    /// No connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes a node's orders to a new connection and closes the one it had.
    pub(crate) fn register(&self, node: &NodeId, takes_questions: bool) -> Arc<Link> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link { number, takes_questions, state: Mutex::default(), wake: Notify::new() });
        let mut links = self.lock();
        let replaced = links.insert(node.clone(), link.clone());
        gauge(links.len());
        drop(links);
        if let Some(replaced) = replaced {
            replaced.close(Close::Replaced);
        }
        link
    }

    /// Takes a connection out, unless a newer one has replaced it. True when the node is without a connection now.
    pub(crate) fn unregister(&self, node: &NodeId, link: &Link) -> bool {
        let mut links = self.lock();
        let is_current = links.get(node).is_some_and(|current| current.number == link.number);
        if is_current {
            links.remove(node);
            gauge(links.len());
        }
        is_current
    }

    fn get(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.lock().get(node).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentLink for Hub {
    fn deliver(&self, node: &NodeId, orders: Vec<Order>) -> bool {
        let Some(link) = self.get(node) else { return false };
        let mut state = link.lock();
        let most = if orders.iter().any(|order| matches!(order, Order::Run(_))) { QUEUE } else { ALL_ORDERS };
        if state.close.is_some() || state.orders.len() + orders.len() > most {
            return false;
        }
        state.orders.extend(orders);
        drop(state);
        link.wake.notify_one();
        true
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.lock().contains_key(node)
    }

    fn disconnect(&self, node: &NodeId, reason: &str) {
        if let Some(link) = self.get(node) {
            link.close(Close::Asked(reason.to_owned()));
        }
    }

    fn ask<'a>(
        &'a self,
        node: &'a NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Answer, Unreached>> {
        Box::pin(async move {
            let link = self.get(node).ok_or(Unreached::NotConnected)?;
            let id = self.numbers.fetch_add(1, Ordering::Relaxed);
            let answer = link.open_question(id, question, deadline)?;
            let _closed = Closed { link: &link, id };
            match timeout(deadline, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(Unreached::Lost),
                Err(_) => Err(Unreached::TimedOut),
            }
        })
    }

    fn disconnect_all(&self, reason: &str) {
        let links: Vec<Arc<Link>> = self.lock().values().cloned().collect();
        links.iter().for_each(|link| link.close(Close::Asked(reason.to_owned())));
    }

    fn send_away(&self, count: usize) -> usize {
        let links: Vec<Arc<Link>> = self.lock().values().take(count).cloned().collect();
        links.iter().for_each(|link| link.close(Close::Away));
        links.len()
    }

    fn connected_count(&self) -> usize {
        self.lock().len()
    }
}

/// Forgets a question when its asker goes away, answered or not.
struct Closed<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        drop(self.link.close_question(self.id));
    }
}

fn gauge(connected: usize) {
    // Exact up to 2^52 agents.
    #[allow(clippy::cast_precision_loss)]
    metrics::gauge!("reeve_agents_connected").set(connected as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::ExecutionId;

    fn stored(id: &str) -> Order {
        Order::Stored(ExecutionId::from(id))
    }

    #[test]
    fn orders_go_to_the_newest_connection_in_order() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        assert!(!hub.deliver(&node, vec![stored("a")]));
        let old = hub.register(&node, true);
        assert!(hub.deliver(&node, vec![stored("a"), stored("b")]));
        let new = hub.register(&node, true);
        assert_eq!(old.closing(), Some(Close::Replaced));
        assert!(hub.deliver(&node, vec![stored("c")]));
        assert_eq!((old.take(), old.take(), old.take()), (Some(stored("a")), Some(stored("b")), None));
        assert_eq!((new.take(), new.take()), (Some(stored("c")), None));
        assert!(!hub.unregister(&node, &old));
        assert!(hub.is_connected(&node));
        assert!(hub.unregister(&node, &new));
        assert_eq!(hub.connected_count(), 0);
    }

    fn run(id: &str) -> Order {
        Order::Run(reeve_types::execution::Assignment {
            execution_id: ExecutionId::from(id),
            node_id: NodeId::from("n"),
            command_id: "c".into(),
            command_text: "true".into(),
            timeout_ms: None,
            expired_at: None,
        })
    }

    #[test]
    fn a_full_queue_takes_nothing_of_a_delivery() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node, true);
        assert!(hub.deliver(&node, vec![run("x"); QUEUE - 1]));
        assert!(!hub.deliver(&node, vec![run("y"); 2]));
        assert!(hub.deliver(&node, vec![run("z")]));
        // What the agent waits for before it forgets a result comes through.
        assert!(!hub.deliver(&node, vec![run("y")]));
        assert!(hub.deliver(&node, vec![stored("a")]));
        assert!(!hub.deliver(&node, vec![stored("b"); ALL_ORDERS]));
        let mut last = None;
        while let Some(order) = link.take() {
            last = Some(order);
        }
        assert_eq!(last, Some(stored("a")));
    }

    #[test]
    fn some_are_sent_away() {
        let hub = Hub::new();
        let links: Vec<_> = ["a", "b", "c"].map(|node| hub.register(&NodeId::from(node), true)).into();
        assert_eq!(hub.send_away(2), 2);
        assert_eq!(links.iter().filter(|link| link.closing() == Some(Close::Away)).count(), 2);
        assert_eq!(hub.send_away(9), 3);
    }

    #[test]
    fn a_closing_connection_takes_no_orders() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node, true);
        hub.disconnect(&node, "deleted");
        assert_eq!(link.closing(), Some(Close::Asked("deleted".into())));
        assert!(!hub.deliver(&node, vec![stored("x")]));
    }

    const SOON: Duration = Duration::from_secs(30);

    fn sample() -> Answer {
        Answer::Sample(Box::default())
    }

    #[tokio::test]
    async fn an_answer_reaches_its_asker() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        assert_eq!(hub.ask(&node, Question::Sample, SOON).await, Err(Unreached::NotConnected));
        let link = hub.register(&node, true);
        let answering = async {
            link.wake.notified().await;
            let (id, question, _) = link.take_question().unwrap();
            assert_eq!((question, link.take_question()), (Question::Sample, None));
            link.answered(id + 1_000, Err(Unreached::Busy));
            link.answered(id, Ok(sample()));
        };
        let (answer, ()) = tokio::join!(hub.ask(&node, Question::Sample, SOON), answering);
        assert_eq!(answer, Ok(sample()));
        assert!(link.lock().open.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_connection_that_is_gone() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node, true);
        let ending = async {
            link.wake.notified().await;
            link.abandon();
        };
        let (answer, ()) = tokio::join!(hub.ask(&node, Question::Sample, SOON), ending);
        assert_eq!(answer, Err(Unreached::Lost));
        assert_eq!(hub.ask(&node, Question::Sample, SOON).await, Err(Unreached::NotConnected));
    }

    #[tokio::test]
    async fn questions_are_bounded_and_forgotten_with_their_askers() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node, true);
        let mut asking: Vec<_> = (0..QUESTIONS).map(|_| hub.ask(&node, Question::Sample, SOON)).collect();
        for ask in &mut asking {
            assert!(futures::poll!(ask).is_pending());
        }
        assert_eq!(hub.ask(&node, Question::Sample, SOON).await, Err(Unreached::Busy));
        drop(asking);
        assert_eq!(hub.ask(&node, Question::Sample, Duration::ZERO).await, Err(Unreached::TimedOut));
        assert_eq!(link.take_question(), None);
        assert!(link.lock().open.is_empty());
    }

    #[tokio::test]
    async fn an_agent_that_is_too_old_is_not_asked() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node, false);
        assert_eq!(hub.ask(&node, Question::Sample, SOON).await, Err(Unreached::Unsupported));
        assert_eq!(link.take_question(), None);
    }
}
