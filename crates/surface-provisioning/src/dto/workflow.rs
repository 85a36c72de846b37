//! Workflows: operations that consist of operations.

use reeve_domain::workflow::StepOf;
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shown;

/// POST /v1/workflows/submit
#[derive(Debug, Deserialize)]
pub struct Submit {
    /// Where.
    pub workspace: String,
    /// What.
    pub workflow_type: String,
    /// How.
    pub parameters: Map<String, Value>,
    /// Nothing is changed.
    pub check_mode: bool,
    /// What was made stays when something fails.
    pub preserve_on_failure: bool,
}

/// A workflow: five keys.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    workflow_type: OperationKind,
    status: OperationStatus,
    created_at: String,
    updated_at: String,
}

impl From<Operation> for View {
    fn from(operation: Operation) -> Self {
        Self {
            id: operation.id.0,
            workflow_type: operation.kind,
            status: operation.status,
            created_at: shown(operation.inserted_at),
            updated_at: shown(operation.updated_at),
        }
    }
}

/// A node of a workflow.
#[derive(Debug, Serialize)]
pub struct Step {
    name: String,
    #[serde(rename = "type")]
    kind: OperationKind,
    needs: Vec<String>,
    status: &'static str,
    operation_id: Option<String>,
    tries: usize,
    error: Option<String>,
}

impl From<StepOf> for Step {
    fn from(step: StepOf) -> Self {
        let (status, operation_id, error) = match step.operation {
            None => ("waiting", None, None),
            Some(operation) => (operation.status.word(), Some(operation.id.0), operation.error),
        };
        Self { name: step.node, kind: step.kind, needs: step.needs, status, operation_id, tries: step.tries, error }
    }
}
