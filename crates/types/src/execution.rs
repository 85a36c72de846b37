//! Executions: one command on one node.

use crate::id::{CommandId, ExecutionId, NodeId};
use crate::node::words;
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// The exit code of a command that was cancelled.
pub const EXIT_CANCELLED: i64 = 143;
/// The exit code of a command that ran out of time.
pub const EXIT_TIMED_OUT: i64 = 124;

words! {
    /// Where an execution stands.
    ExecutionStatus {
        /// Not yet with the agent.
        Pending = "pending",
        /// The agent has it on its disk.
        Sent = "sent",
        /// It ran to an end; the exit code says how.
        Completed = "completed",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Its deadline passed first.
        Expired = "expired",
    }
}

impl ExecutionStatus {
    /// Whether nothing more will happen (a late report of the agent aside).
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Sent => false,
            Self::Completed | Self::Cancelled | Self::Expired => true,
        }
    }
}

/// An execution as stored, with what its command and node add when shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Row id.
    pub id: ExecutionId,
    /// Its command.
    pub command_id: CommandId,
    /// The command's text.
    pub command_text: String,
    /// The command's timeout in milliseconds.
    pub timeout_ms: Option<i64>,
    /// The command's deadline.
    pub expired_at: Option<Timestamp>,
    /// Its node; None once the node is deleted.
    pub node_id: Option<NodeId>,
    /// The cluster that the command named, when it named exactly one.
    pub cluster_name: Option<String>,
    /// Whether the command was for every node.
    pub target_all: bool,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// Exit code of the run.
    pub exit_code: Option<i64>,
    /// What it printed, bounded; loaded only where asked for.
    pub output: Option<String>,
    /// When the agent took it.
    pub sent_at: Option<Timestamp>,
    /// When the agent started it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A fresh execution, before it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExecution {
    /// Row id.
    pub id: ExecutionId,
    /// The node.
    pub node_id: NodeId,
    /// The batch of the rollout, 0 without one.
    pub batch: i64,
    /// Whether it may go to the agent now.
    pub released: bool,
}

/// What an agent is told to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The node.
    pub node_id: NodeId,
    /// Its command.
    pub command_id: CommandId,
    /// The shell text.
    pub command_text: std::sync::Arc<str>,
    /// Milliseconds it may last.
    pub timeout_ms: Option<i64>,
    /// Not to be started from this instant on.
    pub expired_at: Option<Timestamp>,
}

/// How a run ended, as the agent tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The execution.
    pub execution_id: ExecutionId,
    /// True when the agent let it expire instead of running it.
    pub expired: bool,
    /// Exit code; None when it never ran.
    pub exit_code: Option<i64>,
    /// Bounded output.
    pub output: String,
    /// The agent's time of the end.
    pub completed_at: Option<Timestamp>,
}

impl Outcome {
    /// The state that this outcome leads to.
    pub fn status(&self) -> ExecutionStatus {
        if self.exit_code == Some(EXIT_CANCELLED) {
            ExecutionStatus::Cancelled
        } else if self.expired {
            ExecutionStatus::Expired
        } else {
            ExecutionStatus::Completed
        }
    }
}

/// Filters of execution lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// On the command, any of these.
    pub command_ids: Vec<CommandId>,
    /// On the node, any of these.
    pub node_ids: Vec<NodeId>,
    /// On the name of the node's cluster at the moment.
    pub cluster_name: Option<TextMatch>,
    /// On the status, any of these.
    pub status: Vec<ExecutionStatus>,
    /// On the exit code.
    pub exit_code: Range<i64>,
    /// On the recorded cluster being set.
    pub has_cluster: Option<bool>,
    /// On there being output.
    pub has_output: Option<bool>,
    /// On the output's text.
    pub output: Option<TextMatch>,
    /// On the command being for every node.
    pub target_all: Option<bool>,
    /// On when the agent took it.
    pub sent_at: Range<Timestamp>,
    /// On the end.
    pub completed_at: Range<Timestamp>,
    /// On the cancellation.
    pub cancelled_at: Range<Timestamp>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
