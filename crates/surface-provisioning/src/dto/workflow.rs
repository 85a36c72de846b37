//! Workflows: operations that consist of operations.

use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use serde::Serialize;

use super::shown;

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
