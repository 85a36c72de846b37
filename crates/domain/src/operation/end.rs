//! How operations end. A saga tells in the transactions of its first and last step; what it cannot tell any more (an undo
//! that got stuck, a job that somebody cancelled by hand) is found in the rows by [`settle`].
//!
//! A cancel is final at once. The job then fails to complete, because completing asks for `running`, and takes back what it
//! did; locks are held until it has.

use reeve_jobs::{Failure, Running};
use reeve_store::{Tx, host as hosts, operation as table, operation_lock as locks, taskserv as taskservs};
use reeve_types::host::HostState;
use reeve_types::job::JobState;
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use reeve_types::taskserv::TaskservState;
use reeve_types::{Error, JobId, OperationId, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{App, event};

/// Rows per transaction.
const BATCH: i64 = 500;

/// Why a saga turned round; kept in its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What failed; None is a cancel.
    pub error: Option<String>,
}

/// For the record of a saga's first step: the operation runs.
///
/// # Errors
/// Fails when it was cancelled meanwhile.
pub async fn started(app: &App, tx: &mut Tx, id: &OperationId) -> Result<(), Failure> {
    if table::begin(tx, id, app.now()).await? {
        return Ok(());
    }
    Err(Failure::Fail(Error::conflict("the operation was cancelled")))
}

/// For the record of a saga's last step: everything is done. Its locks go to the workflow that asked for it, or are free.
///
/// # Errors
/// Fails when it was cancelled meanwhile: the saga then takes back what it did.
pub async fn completed(app: &App, tx: &mut Tx, id: &OperationId, result: &Value) -> Result<(), Failure> {
    let now = app.now();
    let operation = table::lock(tx, id).await?.ok_or_else(|| Error::not_found("operation"))?;
    if !table::end(tx, id, OperationStatus::Completed, Some(&result.to_string()), None, now).await? {
        return Err(Failure::Fail(Error::conflict("the operation was cancelled")));
    }
    match &operation.parent_id {
        Some(parent) => locks::hand_over(tx, id, parent).await?,
        None => locks::release(tx, id).await?,
    };
    wake_parent(app, tx, &operation).await?;
    tell(app, tx, &operation, OperationStatus::Completed, None).await?;
    Ok(())
}

/// For the undo of a saga's first step: why it turned round.
///
/// # Errors
/// As the store.
pub async fn why(app: &App, job: &Running) -> Result<Why> {
    let mut tx = app.store.read().await?;
    let row = reeve_store::job::get(&mut tx, &job.id).await?;
    let turned = row.and_then(|row| reeve_jobs::turned(row.progress.as_deref()));
    Ok(Why { error: turned.flatten() })
}

/// For the record of the undo of a saga's first step: nothing is left of it.
///
/// # Errors
/// As the store.
pub async fn undone(app: &App, tx: &mut Tx, id: &OperationId, why: &Why) -> Result<(), Failure> {
    let Some(operation) = table::lock(tx, id).await? else { return Ok(()) };
    let status = if why.error.is_some() { OperationStatus::Failed } else { OperationStatus::Cancelled };
    let told = table::end(tx, id, status, None, why.error.as_deref(), app.now()).await?;
    locks::release(tx, id).await?;
    wake_parent(app, tx, &operation).await?;
    if told {
        tell(app, tx, &operation, status, why.error.as_deref()).await?;
    }
    Ok(())
}

/// Ends an operation as cancelled and asks its job to stop.
pub(crate) async fn cancel(app: &App, tx: &mut Tx, operation: &Operation) -> Result<()> {
    let now = app.now();
    table::end(tx, &operation.id, OperationStatus::Cancelled, None, None, now).await?;
    let state = match &operation.job_id {
        None => JobState::Cancelled,
        Some(job) => stop(app, tx, job).await?,
    };
    if state.is_final() {
        forget(app, tx, operation).await?;
        locks::release(tx, &operation.id).await?;
    }
    wake_parent(app, tx, operation).await
}

async fn stop(app: &App, tx: &mut Tx, job: &JobId) -> Result<JobState> {
    match reeve_jobs::cancel(tx, job, app.now()).await {
        Ok(job) => Ok(job.state),
        // It has just ended, or was dropped: there is nothing to stop.
        Err(_) => Ok(JobState::Cancelled),
    }
}

/// Takes back the rows that were entered with an operation whose job never began.
async fn forget(app: &App, tx: &mut Tx, operation: &Operation) -> Result<()> {
    let now = app.now();
    match operation.kind {
        OperationKind::ServerCreate => {
            if let Some(host) = hosts::by_handle(tx, &operation.subject).await?
                && host.state == HostState::Creating
                && host.cloud_ref.is_none()
            {
                hosts::delete(tx, &host.id).await?;
            }
        }
        OperationKind::TaskservCreate => {
            if let Some(found) = taskservs::by_handle(tx, &operation.subject).await?
                && found.taskserv.state == TaskservState::Pending
            {
                taskservs::delete(tx, &found.taskserv.id).await?;
            }
        }
        OperationKind::TaskservDelete | OperationKind::TaskservUpgrade => {
            if let Some(found) = taskservs::by_handle(tx, &operation.subject).await? {
                let from = [TaskservState::Pending, TaskservState::Removing, TaskservState::Installing];
                taskservs::set_state(tx, &found.taskserv.id, &from, TaskservState::Failed, now).await?;
            }
        }
        OperationKind::ServerDelete
        | OperationKind::ServerStart
        | OperationKind::ServerStop
        | OperationKind::ServerReboot
        | OperationKind::ClusterCreate
        | OperationKind::ClusterDelete
        | OperationKind::Batch => {}
    }
    Ok(())
}

/// Ends operations whose jobs have ended without telling them, and frees what they hold. Called by its loop.
///
/// # Errors
/// As the store.
pub async fn settle(app: &App) -> Result<()> {
    let found = table::unsettled(&mut app.store.read().await?, BATCH).await?;
    for (operation, job, error) in found {
        let mut tx = app.store.begin().await?;
        let Some(operation) = table::lock(&mut tx, &operation.id).await? else { continue };
        let status = if job == JobState::Cancelled { OperationStatus::Cancelled } else { OperationStatus::Failed };
        let error = match job {
            JobState::Cancelled => None,
            _ => Some(error.unwrap_or_else(|| "its job ended without a word".to_owned())),
        };
        let ended = table::end(&mut tx, &operation.id, status, None, error.as_deref(), app.now()).await?;
        if operation.status == OperationStatus::Pending {
            forget(app, &mut tx, &operation).await?;
        } else {
            leave_marked(app, &mut tx, &operation, error.as_deref()).await?;
        }
        locks::release(&mut tx, &operation.id).await?;
        wake_parent(app, &mut tx, &operation).await?;
        if ended {
            tell(app, &mut tx, &operation, status, error.as_deref()).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// What an undo could not take back is shown as broken, so that it can be deleted.
async fn leave_marked(app: &App, tx: &mut Tx, operation: &Operation, error: Option<&str>) -> Result<()> {
    let now = app.now();
    if let Some(mut host) = hosts::by_handle(tx, &operation.subject).await?
        && matches!(host.state, HostState::Creating | HostState::Deleting)
    {
        host.state = HostState::Error;
        host.problem = error.map(str::to_owned);
        host.updated_at = now;
        hosts::update(tx, &host).await?;
    }
    if let Some(found) = taskservs::by_handle(tx, &operation.subject).await? {
        let from = [TaskservState::Pending, TaskservState::Installing, TaskservState::Removing];
        taskservs::set_state(tx, &found.taskserv.id, &from, TaskservState::Failed, now).await?;
    }
    Ok(())
}

/// A workflow that waits for this one looks at once.
async fn wake_parent(app: &App, tx: &mut Tx, operation: &Operation) -> Result<()> {
    let Some(parent) = &operation.parent_id else { return Ok(()) };
    if let Some(job) = table::get(tx, parent).await?.and_then(|parent| parent.job_id) {
        reeve_jobs::hurry(tx, &job, app.now()).await?;
    }
    Ok(())
}

/// Appends the event of an end. Last before the commit.
pub(crate) async fn tell(
    app: &App,
    tx: &mut Tx,
    operation: &Operation,
    status: OperationStatus,
    error: Option<&str>,
) -> Result<()> {
    let kind = match status {
        OperationStatus::Completed => event::OPERATION_COMPLETED,
        OperationStatus::Cancelled => event::OPERATION_CANCELLED,
        OperationStatus::Failed | OperationStatus::Pending | OperationStatus::Running => event::OPERATION_FAILED,
    };
    let told = event::of_operation(kind, operation, status, error);
    reeve_store::event::append(tx, &*app.ids, app.now(), &[told]).await
}

/// Drops operations that ended longer ago than configured, and old plans. Called by its schedule.
///
/// # Errors
/// As the store. What was dropped until then stays dropped.
pub async fn prune(app: &App) -> Result<()> {
    let kept = i64::try_from(app.config.provisioning.operation_retention.as_millis()).unwrap_or(i64::MAX);
    let before = app.now().plus_ms(kept.saturating_neg());
    loop {
        let mut tx = app.store.begin().await?;
        let dropped =
            table::prune(&mut tx, before, BATCH).await? + reeve_store::plan::prune(&mut tx, before, BATCH).await?;
        tx.commit().await?;
        if dropped < BATCH as u64 {
            return Ok(());
        }
    }
}
