//! Getting executions to connected agents: at once when they are made, and by looking at the store for the rest.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reeve_ports::Order;
use reeve_store::execution;
use reeve_types::execution::Assignment;
use reeve_types::{ExecutionId, NodeId, Result};

use crate::App;

/// Executions looked at in one query.
const PAGE: i64 = 2_000;

/// Executions handed to a connection that its agent has not taken yet: not to be handed out again meanwhile.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<HashMap<NodeId, HashSet<ExecutionId>>>);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, HashSet<ExecutionId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it was not in flight before.
    fn add(&self, node: &NodeId, execution: &ExecutionId) -> bool {
        self.lock().entry(node.clone()).or_default().insert(execution.clone())
    }

    /// The agent answered for it, or it could not be handed over.
    pub(crate) fn remove(&self, node: &NodeId, execution: &ExecutionId) {
        let mut all = self.lock();
        if let Some(of_node) = all.get_mut(node) {
            of_node.remove(execution);
            if of_node.is_empty() {
                all.remove(node);
            }
        }
    }

    /// Every connection is another one by now.
    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    /// The node's connection is another one by now.
    pub(crate) fn forget(&self, node: &NodeId) {
        self.lock().remove(node);
    }
}

/// Hands executions to the agents that are connected here. The others are found when they connect.
pub(crate) fn deliver(app: &App, assignments: impl IntoIterator<Item = Assignment>) -> u64 {
    let mut handed = 0u64;
    for assignment in assignments {
        let (node, id) = (assignment.node_id.clone(), assignment.execution_id.clone());
        if !app.agents().is_connected(&node) || !app.in_flight.add(&node, &id) {
            continue;
        }
        if app.agents().deliver(&node, vec![Order::Run(assignment)]) {
            handed += 1;
        } else {
            app.in_flight.remove(&node, &id);
        }
    }
    app.counters.executions_handed_out.add(handed);
    handed
}

/// Hands out everything that waits for agents connected here, and passes on cancellations that were asked for at other
/// servers. Called when executions changed elsewhere, and now and then.
///
/// # Errors
/// As the store.
pub async fn pass(app: &App) -> Result<()> {
    let now = app.now();
    let mut after = String::new();
    let mut handed = 0;
    loop {
        let waiting = {
            let mut tx = app.store.read().await?;
            execution::deliverable(&mut tx, &app.server_id, now, &after, PAGE).await?
        };
        let Some(last) = waiting.last() else { break };
        after.clone_from(&last.execution_id.0);
        let full = waiting.len() as i64 == PAGE;
        handed += deliver(app, waiting);
        if !full {
            break;
        }
    }
    app.counters.dispatches.add(1);
    app.counters.last_pass_handed_out.store(handed, Ordering::Relaxed);
    let cancellations = {
        let mut tx = app.store.read().await?;
        execution::cancellations(&mut tx, &app.server_id, now.plus_ms(-60_000)).await?
    };
    for (execution, node) in cancellations {
        app.agents().deliver(&node, vec![Order::Cancel(execution)]);
    }
    Ok(())
}
