//! The way to agents that are connected to this server.

use std::time::Duration;

use futures::future::BoxFuture;
use reeve_types::execution::Assignment;
use reeve_types::node_metrics::Sample;
use reeve_types::{ExecutionId, NodeId, SelfUpdateRequestId};
use serde::{Deserialize, Serialize};

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

/// What a connected agent is asked, once. Serialisable, so that a server can pass it on to the one that holds the agent's
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What do you measure at this moment?
    Sample,
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Sample`].
    Sample(Box<Sample>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreached {
    /// The agent has no connection.
    NotConnected,
    /// Its connection ended while the question was under way.
    Lost,
    /// It did not answer in time.
    TimedOut,
    /// Too many questions wait for this agent.
    Busy,
    /// It is too old to be asked, or to know this question.
    Unsupported,
    /// It could not say; the text is for people.
    Refused(String),
}

impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected => f.write_str("the node is not connected"),
            Self::Lost => f.write_str("the node's connection ended before it answered"),
            Self::TimedOut => f.write_str("the node did not answer in time"),
            Self::Busy => f.write_str("too many questions wait for the node"),
            Self::Unsupported => f.write_str("the node's agent is too old for this question"),
            Self::Refused(why) => write!(f, "the node cannot say: {why}"),
        }
    }
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
    /// Asks a connected agent and waits for its answer, at most for `deadline`. Nothing is kept of a question whose future
    /// is dropped.
    fn ask<'a>(
        &'a self,
        node: &'a NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Answer, Unreached>>;

    /// Closes every agent's connection, as when this server has to join the others anew.
    fn disconnect_all(&self, reason: &str);
    /// Asks up to `count` agents to go to another server. Says how many it asked.
    fn send_away(&self, count: usize) -> usize;
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
    fn ask<'a>(&'a self, _: &'a NodeId, _: Question, _: Duration) -> BoxFuture<'a, Result<Answer, Unreached>> {
        Box::pin(async { Err(Unreached::NotConnected) })
    }
    fn disconnect_all(&self, _: &str) {}
    fn send_away(&self, _: usize) -> usize {
        0
    }
    fn connected_count(&self) -> usize {
        0
    }
}
