//! Stored plans: what a dry run found, to be applied while the world is as it was.

use crate::id::{OperationId, PlanId, WorkspaceId};
use crate::operation::OperationKind;
use crate::time::Timestamp;

/// A plan as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Row id.
    pub id: PlanId,
    /// Where.
    pub workspace_id: WorkspaceId,
    /// The dry run that made it.
    pub operation_id: OperationId,
    /// What applying it does.
    pub kind: OperationKind,
    /// Whether it was a workflow.
    pub is_workflow: bool,
    /// What was asked for, JSON text without secrets.
    pub request: String,
    /// The secret part of what was asked for, sealed JSON.
    pub secrets_sealed: Option<String>,
    /// The plan for people and programs, a JSON object as text.
    pub content: String,
    /// Of the world when it was made: another one refuses to be changed by it.
    pub fingerprint: String,
    /// The operation that applied it; its own id while that is being begun.
    pub applied_by: Option<OperationId>,
    /// Creation.
    pub inserted_at: Timestamp,
}

impl Plan {
    /// Whether somebody is at it: the operation is not known yet.
    pub fn is_being_applied(&self) -> bool {
        self.applied_by.as_ref().is_some_and(|by| by.0 == self.id.0)
    }
}
