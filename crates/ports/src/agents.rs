//! The way to agents that are connected to this server.

use reeve_types::execution::Assignment;
use reeve_types::{ExecutionId, NodeId, SelfUpdateRequestId};

/// What a connected agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this, at most once. A repeat of an execution that the agent knows changes nothing.
    Run(Assignment),
    /// Stop this; the agent answers with an outcome.
    Cancel(ExecutionId),
    /// The outcome is stored for good; the agent may forget it.
    Stored(ExecutionId),
    /// The server does not know this execution (any more): stop it if it runs, forget it, report nothing.
    Forget(ExecutionId),
    /// The answer to a question of the agent's SSH server. Not kept: who is gone meanwhile asks again.
    SshVerified {
        /// The question's number.
        question: u64,
        /// Whether somebody is let in.
        verified: bool,
        /// Why it could not be found out; empty when it was.
        problem: String,
    },
    /// Begin to update, as this request asks. A repeat starts nothing.
    SelfUpdate(SelfUpdateRequestId),
}

/// Connections to agents, held by the shell that accepts them.
pub trait AgentLink: Send + Sync + 'static {
    /// Queues orders for a connected agent without waiting. False when it has no connection here or its queue is full:
    /// then nothing of it is queued, and the orders are found again in the store when the agent connects or is poked.
    fn deliver(&self, node: &NodeId, orders: Vec<Order>) -> bool;
    /// Whether the agent is connected to this server.
    fn is_connected(&self, node: &NodeId) -> bool;
    /// Closes the agent's connection, as when its node is deleted.
    fn disconnect(&self, node: &NodeId, reason: &str);
    /// Agents connected to this server.
    fn connected_count(&self) -> usize;
}

/// No agents: for a server without the agents listener.
#[derive(Debug, Default)]
pub struct NoAgents;

impl AgentLink for NoAgents {
    fn deliver(&self, _: &NodeId, _: Vec<Order>) -> bool {
        false
    }
    fn is_connected(&self, _: &NodeId) -> bool {
        false
    }
    fn disconnect(&self, _: &NodeId, _: &str) {}
    fn connected_count(&self) -> usize {
        0
    }
}
