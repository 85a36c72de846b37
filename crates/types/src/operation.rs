//! Operations: changes of the infrastructure, each asked for once, done by a job and watched until it ends.

use crate::id::{JobId, OperationId, WorkspaceId};
use crate::node::words;
use crate::time::{Range, Timestamp};

words! {
    /// How an operation stands. The last three are final.
    OperationStatus {
        /// Accepted, not begun.
        Pending = "pending",
        /// Being done.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Not done; what was begun was undone, unless it was to be kept.
        Failed = "failed",
        /// Called off; what was begun is being undone or has been.
        Cancelled = "cancelled",
    }
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationEvent {
    /// Its job began.
    Begin,
    /// Everything is done.
    Complete,
    /// It cannot be done.
    Fail,
    /// Somebody called it off.
    Cancel,
}

impl OperationStatus {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Where an event leads; None when it is not allowed.
    pub fn advance(self, event: OperationEvent) -> Option<Self> {
        use OperationEvent::{Begin, Cancel, Complete, Fail};
        match (self, event) {
            (Self::Pending | Self::Running, Begin) => Some(Self::Running),
            (Self::Running, Complete) => Some(Self::Completed),
            (Self::Pending | Self::Running, Fail) => Some(Self::Failed),
            (Self::Pending | Self::Running | Self::Cancelled, Cancel) => Some(Self::Cancelled),
            (Self::Pending, Complete) | (Self::Completed | Self::Failed | Self::Cancelled, _) => None,
        }
    }
}

words! {
    /// What an operation does.
    OperationKind {
        /// Makes or adopts a host.
        ServerCreate = "server_create",
        /// Deletes a host.
        ServerDelete = "server_delete",
        /// Switches a host on.
        ServerStart = "server_start",
        /// Switches a host off.
        ServerStop = "server_stop",
        /// Restarts a host.
        ServerReboot = "server_reboot",
        /// Installs a taskserv.
        TaskservCreate = "taskserv_create",
        /// Removes a taskserv.
        TaskservDelete = "taskserv_delete",
        /// Brings a taskserv to another version or configuration.
        TaskservUpgrade = "taskserv_upgrade",
        /// Makes hosts and installs a cluster on them.
        ClusterCreate = "cluster_create",
        /// Deletes what a `cluster_create` made.
        ClusterDelete = "cluster_delete",
        /// A graph of operations.
        Batch = "batch",
    }
}

/// An operation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Row id, a UUID.
    pub id: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// Whether it was submitted as a workflow: it does its work through operations of its own.
    pub is_workflow: bool,
    /// Where; None once that workspace is gone.
    pub workspace_id: Option<WorkspaceId>,
    /// That workspace's name.
    pub workspace: String,
    /// The workflow that asked for it.
    pub parent_id: Option<OperationId>,
    /// Its name in that workflow's graph.
    pub node: Option<String>,
    /// The job that does it; that row may be gone.
    pub job_id: Option<JobId>,
    /// How it stands.
    pub status: OperationStatus,
    /// Nothing is changed, the result is a plan.
    pub check_mode: bool,
    /// Handle or name of what it is about; empty when there is none.
    pub subject: String,
    /// What was asked for, JSON text without secrets.
    pub request: String,
    /// The secret part of what was asked for, sealed JSON.
    pub secrets_sealed: Option<String>,
    /// What came of it, a JSON object as text.
    pub result: Option<String>,
    /// Why it failed, safe to show.
    pub error: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// The operation that this one tries again.
    pub retry_of: Option<OperationId>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// First start.
    pub started_at: Option<Timestamp>,
    /// The end.
    pub finished_at: Option<Timestamp>,
}

/// The part of an operation that lists of thousands show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationLine {
    /// Row id.
    pub id: OperationId,
    /// How it stands.
    pub status: OperationStatus,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// What came of it, a JSON object as text.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which operations a list shows; everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// In one of these states; empty is any.
    pub statuses: Vec<OperationStatus>,
    /// Of the workspace with this name.
    pub workspace: Option<String>,
    /// Of this kind.
    pub kind: Option<OperationKind>,
    /// Workflows, or all but them.
    pub is_workflow: Option<bool>,
    /// Asked for by this workflow.
    pub parent_id: Option<OperationId>,
    /// Created in this period.
    pub inserted_at: Range<Timestamp>,
}

words! {
    /// How a phase of an operation stands.
    PhaseState {
        /// Being done.
        Running = "running",
        /// Done.
        Done = "done",
        /// Failed.
        Failed = "failed",
        /// Not needed.
        Skipped = "skipped",
    }
}

/// A part of an operation's work that is told apart from the steps of its job, as one phase on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Whose.
    pub operation_id: OperationId,
    /// Order of display.
    pub position: i64,
    /// Unique in the operation, as `web-01/etcd/install`.
    pub name: String,
    /// How it stands.
    pub state: PhaseState,
    /// What there is to say, safe to show.
    pub detail: Option<String>,
    /// Last start.
    pub started_at: Timestamp,
    /// The end.
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_stays() {
        use OperationEvent::{Begin, Cancel, Complete, Fail};
        for last in [OperationStatus::Completed, OperationStatus::Failed] {
            for event in [Begin, Complete, Fail, Cancel] {
                assert_eq!(last.advance(event), None, "{last:?} {event:?}");
            }
        }
        assert_eq!(OperationStatus::Cancelled.advance(Cancel), Some(OperationStatus::Cancelled));
        assert_eq!(OperationStatus::Cancelled.advance(Complete), None, "a cancel is never lost to a late completion");
        assert_eq!(OperationStatus::Pending.advance(Complete), None);
        assert_eq!(OperationStatus::Running.advance(Complete), Some(OperationStatus::Completed));
    }
}
