//! Operations: listed, watched, cancelled, tried again. How they begin is in [`begin`], how they end in [`end`].

use std::sync::Arc;

use reeve_jobs::StepView;
use reeve_store::{operation as table, operation_phase};
use reeve_types::operation::{Operation, OperationFilter, OperationLine, OperationStatus, Phase};
use reeve_types::{Actor, Error, OperationId, Page, Paged, Permission, Result};
use serde_json::json;

use crate::job::Follow;
use crate::{App, audit, authz};

pub mod begin;
pub mod end;
pub(crate) mod retry;

pub use begin::{New, enter};
pub use end::{Why, completed, prune, settle, started, undone, why};
pub use retry::retry;

/// A list without a page holds no more.
pub const MOST: i64 = 100_000;

/// An operation with how its work stands.
#[derive(Clone, Debug)]
pub struct Detail {
    /// The operation.
    pub operation: Operation,
    /// The steps of its job, in order; none once that is dropped.
    pub steps: Vec<StepView>,
    /// What it did where.
    pub phases: Vec<Phase>,
    /// What its job waits for or failed of last, while it is under way.
    pub waiting: Option<String>,
    /// The operations of a workflow, in order.
    pub children: Vec<Operation>,
}

impl Detail {
    /// Parts of the work done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        let (done, total) = if self.operation.is_workflow {
            let done = self.children.iter().filter(|child| child.status == OperationStatus::Completed).count();
            (done, self.children.len())
        } else {
            let done = self.steps.iter().filter(|step| step.state == reeve_jobs::StepState::Done).count();
            (done, self.steps.len())
        };
        match self.operation.status {
            OperationStatus::Completed => (total.max(1), total.max(1)),
            _ => (done, total.max(1)),
        }
    }
}

/// Operations as lines, complete, the oldest first.
///
/// # Errors
/// As the store.
pub async fn lines(app: &App, actor: &Actor, filter: &OperationFilter) -> Result<Vec<OperationLine>> {
    authz::require(actor, Permission::OperationsRead)?;
    table::lines(&mut app.store.read().await?, filter, MOST).await
}

/// A page of operations, the oldest first.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, filter: &OperationFilter, page: Page) -> Result<Paged<Operation>> {
    authz::require(actor, Permission::OperationsRead)?;
    table::list(&mut app.store.read().await?, filter, false, page).await
}

/// One operation.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &OperationId) -> Result<Operation> {
    authz::require(actor, Permission::OperationsRead)?;
    table::get(&mut app.store.read().await?, id).await?.ok_or_else(|| Error::not_found("operation"))
}

/// One operation with its steps.
///
/// # Errors
/// NotFound.
pub async fn detail(app: &App, actor: &Actor, id: &OperationId) -> Result<Detail> {
    authz::require(actor, Permission::OperationsRead)?;
    of(app, id).await
}

pub(crate) async fn of(app: &App, id: &OperationId) -> Result<Detail> {
    let mut tx = app.store.read().await?;
    let operation = table::get(&mut tx, id).await?.ok_or_else(|| Error::not_found("operation"))?;
    let phases = operation_phase::of(&mut tx, id).await?;
    let children = if operation.is_workflow { table::children(&mut tx, id).await? } else { Vec::new() };
    let job = match &operation.job_id {
        Some(job) => reeve_store::job::get(&mut tx, job).await?,
        None => None,
    };
    let waiting = job.as_ref().filter(|job| !job.state.is_final()).and_then(|job| job.error.clone());
    let steps = job.map(|job| crate::job::view(app, job).steps).unwrap_or_default();
    Ok(Detail { operation, steps, phases, waiting, children })
}

/// Calls an operation off. It is cancelled from here on, whatever its job still does: that stops at the next safe point and
/// takes back what it did. Cancelled already is no error.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn cancel(app: &App, actor: &Actor, id: &OperationId) -> Result<Operation> {
    authz::require(actor, Permission::OperationsCancel)?;
    cancel_one(app, actor, id, None).await
}

/// Calls a workflow off; as [`cancel`], for workflows only.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn cancel_workflow(app: &App, actor: &Actor, id: &OperationId) -> Result<Operation> {
    authz::require(actor, Permission::WorkflowsCancel)?;
    cancel_one(app, actor, id, Some(true)).await
}

async fn cancel_one(app: &App, actor: &Actor, id: &OperationId, workflow: Option<bool>) -> Result<Operation> {
    let mut tx = app.begin(actor).await?;
    let found = table::lock(&mut tx, id).await?.filter(|found| workflow.is_none_or(|w| found.is_workflow == w));
    let found = found.ok_or_else(|| Error::not_found(if workflow == Some(true) { "workflow" } else { "operation" }))?;
    if found.status == OperationStatus::Cancelled {
        return Ok(found);
    }
    if found.status.is_final() {
        return Err(Error::conflict(format!(
            "the operation is {} already: there is nothing to cancel",
            found.status.word()
        )));
    }
    end::cancel(app, &mut tx, &found).await?;
    audit::record(app, &mut tx, actor, "operation.cancel", id.as_str(), json!({"kind": found.kind})).await?;
    end::tell(app, &mut tx, &found, OperationStatus::Cancelled, None).await?;
    let ended = table::get(&mut tx, id).await?.ok_or_else(|| Error::not_found("operation"))?;
    tx.commit().await?;
    Ok(ended)
}

/// A piece of an operation's log from byte `offset` on.
///
/// # Errors
/// NotFound.
pub async fn log(app: &App, actor: &Actor, id: &OperationId, offset: i64, most: usize) -> Result<crate::job::Output> {
    let operation = get(app, actor, id).await?;
    let nothing = crate::job::Output { text: String::new(), next_offset: offset.max(0), complete: true };
    let Some(job) = operation.job_id else { return Ok(nothing) };
    match crate::job::output_of(app, &job, offset, most).await {
        Err(error) if error.kind == reeve_types::ErrorKind::NotFound => Ok(nothing),
        other => other,
    }
}

/// Follows an operation's log from a byte offset until its job has ended; None when that job is dropped.
///
/// # Errors
/// NotFound.
pub async fn follow(app: &Arc<App>, actor: &Actor, id: &OperationId, offset: i64) -> Result<Option<Follow>> {
    let operation = get(app, actor, id).await?;
    let Some(job) = operation.job_id else { return Ok(None) };
    match crate::job::follow_of(app, &job, offset).await {
        Ok(follow) => Ok(Some(follow)),
        Err(error) if error.kind == reeve_types::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Operations ever made that are still known, and how many of them run.
///
/// # Errors
/// As the store.
pub async fn count(app: &App, actor: &Actor) -> Result<(i64, i64)> {
    authz::require(actor, Permission::SystemMetrics)?;
    table::count(&mut app.store.read().await?).await
}
