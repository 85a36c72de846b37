//! Self-update requests: asking nodes to replace their agents by newer ones.

use crate::id::{NodeId, SelfUpdateRequestId};
use crate::node::words;
use crate::rollout::Rollout;
use crate::time::{Range, Timestamp};

words! {
    /// Where a request stands.
    SelfUpdateStatus {
        /// Its nodes are not known yet.
        Pending = "pending",
        /// Nodes are being asked.
        Processing = "processing",
        /// Every node has answered, or will not.
        Completed = "completed",
    }
}

words! {
    /// Where one node of a request stands.
    SelfUpdateState {
        /// Not asked yet.
        Pending = "pending",
        /// Asked, no answer yet.
        Sent = "sent",
        /// The update began.
        Triggered = "triggered",
        /// It did not; the reason says why.
        Failed = "failed",
        /// Not asked, because the rollout was given up.
        Cancelled = "cancelled",
    }
}

impl SelfUpdateState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Sent => false,
            Self::Triggered | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A request as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfUpdateRequest {
    /// Row id.
    pub id: SelfUpdateRequestId,
    /// The targeting as it was asked for, a JSON document.
    pub targeting: String,
    /// Where it stands.
    pub status: SelfUpdateStatus,
    /// Who asked, as [`Principal::label`](crate::Principal::label).
    pub created_by: String,
    /// What came of it; None until it is completed.
    pub summary: Option<SelfUpdateSummary>,
    /// The rollout, None when every node was asked at once.
    pub rollout: Option<Rollout>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfUpdateSummary {
    /// Nodes it was for.
    pub total: i64,
    /// Nodes whose update began.
    pub triggered: i64,
    /// Nodes whose update did not.
    pub failed: i64,
    /// Nodes that were not asked.
    pub cancelled: i64,
}

/// How the nodes of a request stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SelfUpdateProgress {
    /// Not asked yet.
    pub pending: i64,
    /// Asked, no answer yet.
    pub sent: i64,
    /// Those that are done with.
    pub ended: SelfUpdateSummary,
}

impl SelfUpdateProgress {
    /// Counts `count` nodes in `state`.
    pub fn add(&mut self, state: SelfUpdateState, count: i64) {
        self.ended.total += count;
        match state {
            SelfUpdateState::Pending => self.pending += count,
            SelfUpdateState::Sent => self.sent += count,
            SelfUpdateState::Triggered => self.ended.triggered += count,
            SelfUpdateState::Failed => self.ended.failed += count,
            SelfUpdateState::Cancelled => self.ended.cancelled += count,
        }
    }

    /// Nodes of which something is still to come.
    pub fn open(&self) -> i64 {
        self.pending + self.sent
    }
}

impl From<SelfUpdateSummary> for SelfUpdateProgress {
    fn from(ended: SelfUpdateSummary) -> Self {
        Self { pending: 0, sent: 0, ended }
    }
}

/// One node of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfUpdateTarget {
    /// The node; None once it is deleted.
    pub node_id: Option<NodeId>,
    /// The batch of the rollout, from 0.
    pub batch: i64,
    /// Where it stands.
    pub state: SelfUpdateState,
    /// Why the update did not begin.
    pub reason: Option<String>,
    /// When the order went to the agent.
    pub sent_at: Option<Timestamp>,
    /// When the state became final.
    pub answered_at: Option<Timestamp>,
}

/// Filters of request lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfUpdateFilter {
    /// On the status, any of these.
    pub status: Vec<SelfUpdateStatus>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
