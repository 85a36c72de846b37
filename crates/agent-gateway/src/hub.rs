//! Which agents are connected here, and the orders that wait for their connections.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_ports::AgentLink;
use reeve_ports::agents::Order;
use reeve_types::NodeId;
use tokio::sync::Notify;

/// Orders that may wait for one connection; more are found in the store again.
const QUEUE: usize = 4096;

/// Why the server closes a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The same node has a newer connection.
    Replaced,
    /// Asked for, as when the node was deleted.
    Asked(String),
    /// It is to go to another server.
    Away,
}

/// One connection as the hub sees it.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    state: Mutex<State>,
    /// Woken when there are orders or the connection is to be closed.
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    close: Option<Close>,
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
    pub(crate) fn register(&self, node: &NodeId) -> Arc<Link> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link { number, state: Mutex::default(), wake: Notify::new() });
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
        if state.close.is_some() || state.orders.len() + orders.len() > QUEUE {
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
        let old = hub.register(&node);
        assert!(hub.deliver(&node, vec![stored("a"), stored("b")]));
        let new = hub.register(&node);
        assert_eq!(old.closing(), Some(Close::Replaced));
        assert!(hub.deliver(&node, vec![stored("c")]));
        assert_eq!((old.take(), old.take(), old.take()), (Some(stored("a")), Some(stored("b")), None));
        assert_eq!((new.take(), new.take()), (Some(stored("c")), None));
        assert!(!hub.unregister(&node, &old));
        assert!(hub.is_connected(&node));
        assert!(hub.unregister(&node, &new));
        assert_eq!(hub.connected_count(), 0);
    }

    #[test]
    fn a_full_queue_takes_nothing_of_a_delivery() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node);
        assert!(hub.deliver(&node, vec![stored("x"); QUEUE - 1]));
        assert!(!hub.deliver(&node, vec![stored("y"); 2]));
        assert!(hub.deliver(&node, vec![stored("z")]));
        let mut last = None;
        while let Some(order) = link.take() {
            last = Some(order);
        }
        assert_eq!(last, Some(stored("z")));
    }

    #[test]
    fn some_are_sent_away() {
        let hub = Hub::new();
        let links: Vec<_> = ["a", "b", "c"].map(|node| hub.register(&NodeId::from(node))).into();
        assert_eq!(hub.send_away(2), 2);
        assert_eq!(links.iter().filter(|link| link.closing() == Some(Close::Away)).count(), 2);
        assert_eq!(hub.send_away(9), 3);
    }

    #[test]
    fn a_closing_connection_takes_no_orders() {
        let (hub, node) = (Hub::new(), NodeId::from("n"));
        let link = hub.register(&node);
        hub.disconnect(&node, "deleted");
        assert_eq!(link.closing(), Some(Close::Asked("deleted".into())));
        assert!(!hub.deliver(&node, vec![stored("x")]));
    }
}
