//! Removing a taskserv from its machines. What is removed is not put back: the undo leaves it marked as failed, to be
//! removed again or upgraded.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, Running, Saga, Step, Steps};
use reeve_store::{Tx, taskserv as table};
use reeve_types::taskserv::{Taskserv, TaskservState};
use reeve_types::{HostId, OperationId, TaskservId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::install_saga::remove_from;
use super::machine::{self, Ground, not_cancelled};
use super::world;
use crate::operation::{self, Why};
use crate::{App, event};

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removing {
    operation: OperationId,
    taskserv: TaskservId,
    handle: String,
    name: String,
    hosts: Vec<HostId>,
    before: TaskservState,
    force: bool,
    purge: bool,
    /// Something may have been taken away already.
    touched: bool,
    warnings: Vec<String>,
    why: Option<Why>,
}

impl Removing {
    /// The state a saga begins with.
    pub fn of(operation: OperationId, taskserv: &Taskserv, hosts: Vec<HostId>, force: bool, purge: bool) -> Self {
        Self {
            operation,
            taskserv: taskserv.id.clone(),
            handle: taskserv.handle.clone(),
            name: taskserv.name.clone(),
            hosts,
            before: taskserv.state,
            force,
            purge,
            touched: false,
            warnings: Vec::new(),
            why: None,
        }
    }
}

/// The saga.
pub struct RemoveTaskserv;

impl Saga<App> for RemoveTaskserv {
    const KIND: &'static str = "taskserv.remove";
    const STEP_TIMEOUT: Duration = Duration::from_secs(3600);
    type State = Removing;
    fn steps() -> Steps<App, Removing> {
        Steps::new().then(Begin).then(Remove)
    }
}

struct Begin;
impl Step<App, Removing> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Removing) -> Result<(), Failure> {
        table::set_state(tx, &state.taskserv, &[], TaskservState::Removing, app.now()).await?;
        operation::started(app, tx, &state.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, state: &mut Removing) -> Result<(), Failure> {
        state.why = Some(operation::why(app, job).await?);
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Removing) -> Result<(), Failure> {
        let left = if state.touched { TaskservState::Failed } else { state.before };
        table::set_state(tx, &state.taskserv, &[TaskservState::Removing], left, app.now()).await?;
        operation::undone(app, tx, &state.operation, &state.why.clone().unwrap_or_default()).await
    }
}

struct Remove;
impl Step<App, Removing> for Remove {
    fn name(&self) -> &'static str {
        "remove"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, state: &mut Removing) -> Result<(), Failure> {
        not_cancelled(app, &state.operation).await?;
        let mut tx = app.store.read().await?;
        let Some(placed) = table::get(&mut tx, &state.taskserv).await? else { return Ok(()) };
        let hosts = reeve_store::host::of_ids(&mut tx, &state.hosts).await?;
        drop(tx);
        let settings = world::settings(app, &placed.taskserv)?;
        let others = machine::placed(app, &placed.taskserv.workspace_id).await?;
        state.touched = true;
        let removed = match Ground::of(settings, hosts, others) {
            Ok(ground) => remove_from(app, job, &state.operation, &ground, state.purge, 0).await,
            Err(error) => Err(Failure::from(error)),
        };
        match removed {
            // By force the row goes, whatever the machines say.
            Err(Failure::Fail(error)) if state.force => state.warnings.push(error.to_string()),
            Err(Failure::Retry { error, .. }) if state.force => state.warnings.push(error.to_string()),
            other => other?,
        }
        Ok(())
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Removing) -> Result<(), Failure> {
        let placed = table::get(tx, &state.taskserv).await?;
        table::delete(tx, &state.taskserv).await?;
        let result = json!({
            "taskserv_id": state.handle, "name": state.name, "data_removed": state.purge, "warnings": state.warnings,
        });
        operation::completed(app, tx, &state.operation, &result).await?;
        if let Some(placed) = placed {
            let told = event::of_taskserv(event::TASKSERV_REMOVED, &placed);
            reeve_store::event::append(tx, &*app.ids, app.now(), &[told]).await?;
        }
        Ok(())
    }
    // A removal that was begun cannot be taken back: the row says that it failed. A step that crashed may have begun.
    async fn undo(&self, _: &Arc<App>, _: &Running, state: &mut Removing) -> Result<(), Failure> {
        state.touched = true;
        Ok(())
    }
}
