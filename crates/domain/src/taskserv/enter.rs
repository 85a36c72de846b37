//! Enters requests for taskservs: rows, locks, operation and job in one transaction.

use reeve_jobs::NewJob;
use reeve_store::{Tx, taskserv as table};
use reeve_taskservs::{Because, Settings};
use reeve_types::operation::Operation;
use reeve_types::taskserv::{Taskserv, TaskservState};
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, HostId, OperationId, Result, Secret, TaskservId};

use super::delete_saga::{RemoveTaskserv, Removing};
use super::install_saga::{InstallTaskserv, Installing, Part};
use super::request::{Prepared, Work};
use super::{layers, world};
use crate::operation::{self, New, begin};
use crate::plan::CheckOperation;
use crate::{App, host};

/// Enters a prepared request with its operation.
///
/// # Errors
/// Conflict when something is under way on one of the hosts.
#[allow(clippy::too_many_arguments)] // as for hosts
pub(crate) async fn enter(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    workspace: &Workspace,
    prepared: Prepared,
    parent: Option<(&OperationId, &str)>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let shown = prepared.public()?;
    let whole = serde_json::to_string(&prepared.request).map_err(Error::internal)?;
    let who = actor.principal.label();
    let id = OperationId(app.ids.next());
    let Prepared { kind, request, known, work } = prepared;
    let mut new = New::of(kind, workspace, request.taskserv.clone(), shown);
    (new.parent, new.retry_of, new.id, new.check_mode) = (parent, retry_of, Some(id.clone()), request.check_mode);
    new.secrets = Some(Secret::new(whole));
    if request.check_mode {
        if new.subject.is_empty() {
            new.subject.clone_from(&request.name);
        }
        return operation::enter(app, tx, actor, new, |id| CheckOperation::job(id, &who)).await;
    }
    match work {
        Work::Install { resolution } => {
            let mut parts = Vec::new();
            let mut locked: Vec<HostId> = Vec::new();
            for step in resolution.steps {
                let on = world::ids(&known, &step.machines);
                still_free(tx, &step.settings.name, &on).await?;
                let mut settings = step.settings;
                make_up(app, &mut settings)?;
                let row = row(app, tx, workspace, &settings, TaskservState::Pending).await?;
                table::insert(tx, &row, &on).await?;
                if step.because == Because::Asked {
                    new.subject.clone_from(&row.handle);
                }
                locked.extend(on.iter().cloned());
                parts.push(Part::of(&row, on, step.chosen));
            }
            locked.sort_by(|a, b| a.0.cmp(&b.0));
            locked.dedup();
            new.locks = locked.iter().map(begin::host_lock).collect();
            let state = Installing::of(id, new.subject.clone(), parts, request.preserve_on_failure);
            operation::enter(app, tx, actor, new, |_| NewJob::saga::<App, InstallTaskserv>(&state, &who)).await
        }
        Work::Upgrade { placed, mut settings } => {
            make_up(app, &mut settings)?;
            let on: Vec<HostId> = placed.hosts.iter().map(|(id, _)| id.clone()).collect();
            new.locks = on.iter().map(begin::host_lock).collect();
            let sealed = world::seal(app, &placed.taskserv.id, &settings)?;
            let state = Installing::upgrade(id, &placed.taskserv, on, sealed, request.preserve_on_failure);
            operation::enter(app, tx, actor, new, |_| NewJob::saga::<App, InstallTaskserv>(&state, &who)).await
        }
        Work::Remove { placed } => {
            let on: Vec<HostId> = placed.hosts.iter().map(|(id, _)| id.clone()).collect();
            new.locks = on.iter().map(begin::host_lock).collect();
            let state = Removing::of(id, &placed.taskserv, on, request.force, request.remove_data);
            operation::enter(app, tx, actor, new, |_| NewJob::saga::<App, RemoveTaskserv>(&state, &who)).await
        }
    }
}

/// The preparation read before this transaction began: somebody may have been faster.
async fn still_free(tx: &mut Tx, name: &str, on: &[HostId]) -> Result<()> {
    let there = table::on_hosts(tx, on).await?;
    match there.into_iter().find(|placed| placed.taskserv.name == name) {
        None => Ok(()),
        Some(placed) => {
            Err(Error::conflict(format!("{name} is on one of these servers already: {}", placed.taskserv.handle)))
        }
    }
}

/// Makes up the secrets that nobody gave, without favouring any letter.
pub(super) fn make_up(app: &App, settings: &mut Settings) -> Result<()> {
    let catalogue = layers::of(settings)?;
    settings.make_up(&catalogue, |below| {
        let fair = u32::MAX - u32::MAX % below.max(1);
        loop {
            let mut bytes = [0_u8; 4];
            app.ids.fill(&mut bytes);
            let drawn = u32::from_be_bytes(bytes);
            if drawn < fair {
                return drawn % below.max(1);
            }
        }
    });
    Ok(())
}

async fn row(
    app: &App,
    tx: &mut Tx,
    workspace: &Workspace,
    settings: &Settings,
    state: TaskservState,
) -> Result<Taskserv> {
    let now = app.now();
    let id = TaskservId(app.ids.next());
    let mut handle = host::handle(app, "tsk");
    while table::by_handle(tx, &handle).await?.is_some() {
        handle = host::handle(app, "tsk");
    }
    Ok(Taskserv {
        handle,
        workspace_id: workspace.id.clone(),
        name: settings.name.clone(),
        version: settings.version.clone(),
        config: layers::public(settings)?.to_string(),
        secrets_sealed: Some(world::seal(app, &id, settings)?),
        state,
        health: None,
        inserted_at: now,
        updated_at: now,
        id,
    })
}
