//! Stored plans.

use reeve_types::operation::OperationKind;
use reeve_types::plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{document, shown};

/// The filter of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// Of this workspace.
    pub workspace: Option<String>,
}

/// A stored plan.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    operation_id: String,
    #[serde(rename = "type")]
    kind: OperationKind,
    workflow: bool,
    /// Its workspace.
    pub workspace: String,
    plan: Option<Box<RawValue>>,
    applied_by: Option<String>,
    created_at: String,
}

impl From<Plan> for View {
    fn from(plan: Plan) -> Self {
        let applied_by = if plan.is_being_applied() { None } else { plan.applied_by };
        let content: Value = serde_json::from_str(&plan.content).unwrap_or_default();
        Self {
            id: plan.id.0,
            operation_id: plan.operation_id.0,
            kind: plan.kind,
            workflow: plan.is_workflow,
            workspace: content["workspace"].as_str().unwrap_or_default().to_owned(),
            plan: document(Some(plan.content)),
            applied_by: applied_by.map(|id| id.0),
            created_at: shown(plan.inserted_at),
        }
    }
}
