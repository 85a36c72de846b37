//! Their ids and ours. Servers and taskservs are known by handles (`srv-abc123`, `tsk-abc123`), everything else by UUIDs,
//! which clients may write in upper case.

use reeve_http_kit::Call;
use reeve_types::{OperationId, PlanId};

/// The operation that a path names. One that is no UUID names nothing.
pub fn operation(call: &Call) -> OperationId {
    OperationId::from(call.param("id").to_ascii_lowercase().as_str())
}

/// The plan that a path names.
pub fn plan(call: &Call) -> PlanId {
    PlanId::from(call.param("id").to_ascii_lowercase().as_str())
}
