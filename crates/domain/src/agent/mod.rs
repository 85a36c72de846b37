//! What agents do: enroll, connect, beat, take commands, report. Called by the shell that holds their connections.

mod connect;
pub mod dispatch;
mod enroll;
pub mod intake;
pub mod presence;

use reeve_types::execution::Outcome;
use reeve_types::node::NodePorts;
use reeve_types::{ExecutionId, Timestamp};

pub use connect::{connected, disconnected, public_key};
pub use enroll::{Enrolled, Enrollment, Refusal, enroll};
pub use intake::report;
pub use presence::heartbeat;

/// Whether an id that an agent named can be one of ours at all.
fn is_plausible(id: &ExecutionId) -> bool {
    (1..=64).contains(&id.0.len()) && !id.0.chars().any(char::is_control)
}

/// What an agent tells of its machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Agent version.
    pub version: String,
    /// Its services' ports.
    pub ports: NodePorts,
    /// Whether it takes part in self-updates.
    pub self_update_enabled: bool,
    /// A JSON object of at most 16 KiB.
    pub facts: Option<String>,
    /// Counts the agent's connections over all its starts; 0 where it does not.
    pub session: i64,
}

/// How far an agent's journal has an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On disk, not started.
    Accepted,
    /// Started.
    Started,
    /// Ended; the outcome is on its way.
    Finished,
}

/// An execution that an agent's journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The execution.
    pub execution_id: ExecutionId,
    /// How far it is.
    pub stage: Stage,
}

/// What a connecting agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Time between its heartbeats.
    pub heartbeat_ms: u64,
    /// Time between its samples; 0 wants none.
    pub sample_ms: u64,
    /// This server's version.
    pub server_version: &'static str,
    /// This server's time.
    pub now: Timestamp,
    /// `host:port` of every server that it may come to, this one first.
    pub agent_endpoints: Vec<String>,
}

/// What an agent tells about an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is in the agent's journal.
    Accepted(ExecutionId),
    /// It started.
    Started(ExecutionId),
    /// It printed something.
    Output {
        /// The execution.
        execution_id: ExecutionId,
        /// Bytes printed before this text.
        offset: u64,
        /// The text.
        text: String,
    },
    /// It ended.
    Outcome(Outcome),
    /// The agent cannot take it, as with a full disk; it never ran.
    Refused {
        /// The execution.
        execution_id: ExecutionId,
        /// Why, for people.
        reason: String,
    },
}
