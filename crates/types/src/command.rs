//! Commands: a shell text for many nodes.

use crate::cluster::ClusterFilter;
use crate::id::{CommandId, NodeId};
use crate::node::{NodeFilter, words};
use crate::rollout::Rollout;
use crate::selector::Selector;
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

words! {
    /// What the nodes of a command are picked from.
    TargetKind {
        /// Every node.
        All = "all",
        /// Named nodes.
        Nodes = "nodes",
        /// The nodes of named clusters.
        Clusters = "clusters",
    }
}

/// Which nodes a command is for. All parts must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targeting {
    /// What to pick from.
    pub kind: TargetKind,
    /// For [`TargetKind::Nodes`].
    pub node_ids: Vec<NodeId>,
    /// For [`TargetKind::Clusters`].
    pub cluster_names: Vec<String>,
    /// On the node.
    pub nodes: NodeFilter,
    /// On the node's cluster.
    pub clusters: ClusterFilter,
    /// On the node's labels.
    pub labels: Option<Selector>,
}

/// A command as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Row id.
    pub id: CommandId,
    /// The shell text.
    pub command_text: String,
    /// Milliseconds a run may last; None is no limit.
    pub timeout_ms: Option<i64>,
    /// Open executions expire at this instant; None is never.
    pub expired_at: Option<Timestamp>,
    /// The targeting as it was asked for, a JSON document.
    pub targeting: String,
    /// Whether the targeting kind was `all`.
    pub target_all: bool,
    /// Who asked, as [`Principal::label`](crate::Principal::label).
    pub created_by: String,
    /// Whether the executions have been made.
    pub fanned_out: bool,
    /// The rollout, None when everything went out at once.
    pub rollout: Option<Rollout>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Filters of command lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandFilter {
    /// On the text.
    pub command_text: Option<TextMatch>,
    /// Whether a timeout is set.
    pub has_timeout: Option<bool>,
    /// On the timeout.
    pub timeout_ms: Range<i64>,
    /// Whether it expires.
    pub has_expired_at: Option<bool>,
    /// On the expiry.
    pub expired_at: Range<Timestamp>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}

/// How a command's executions stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSummary {
    /// All of them.
    pub total: i64,
    /// Not yet with an agent.
    pub pending: i64,
    /// With an agent; `running` of them have started.
    pub sent: i64,
    /// Started by the agent, not finished.
    pub running: i64,
    /// Ran to an end, whatever the exit code.
    pub completed: i64,
    /// Completed with exit code 0.
    pub succeeded: i64,
    /// Completed with another exit code.
    pub failed: i64,
    /// Completed with exit code 124.
    pub timed_out: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// Expired.
    pub expired: i64,
    /// Exit code to number of executions.
    pub exit_codes: Vec<(i64, i64)>,
}

impl CommandSummary {
    /// Whether nothing more will happen.
    pub fn is_final(&self) -> bool {
        self.pending == 0 && self.sent == 0
    }
}
