//! Asking for a host's end: refused at the door where something stands against it, done by [`super::delete_saga`].

use reeve_jobs::NewJob;
use reeve_store::{Tx, host as table, workspace as workspaces};
use reeve_types::host::Host;
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, OperationId, Permission, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::delete_saga::{DeleteHost, Removing};
use crate::operation::{self, New, begin};
use crate::plan::CheckOperation;
use crate::{App, audit, authz};

/// How a host is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delete {
    /// Its handle.
    pub server: String,
    /// The workspace it is expected in; None is wherever it is.
    pub workspace: Option<String>,
    /// Without asking the system inside, past the delete lock and what others have on it, and even when the provider does
    /// not answer.
    pub force: bool,
    /// Nothing is deleted, the result is a plan.
    pub check_mode: bool,
}

/// Asks for a host's end.
///
/// # Errors
/// NotFound; Conflict when it is locked, being worked on, or carries what others need.
pub async fn delete(app: &App, actor: &Actor, input: Delete) -> Result<Operation> {
    authz::require(actor, Permission::HostsDelete)?;
    again(app, actor, input, None).await
}

pub(crate) async fn again(app: &App, actor: &Actor, input: Delete, retry_of: Option<OperationId>) -> Result<Operation> {
    let mut tx = app.begin(actor).await?;
    let (host, workspace) = find(&mut tx, &input).await?;
    let details = json!({"hostname": host.hostname, "workspace": workspace.name, "force": input.force});
    let entered = enter(app, &mut tx, actor, &workspace, &host, &input, None, retry_of).await?;
    audit::record(app, &mut tx, actor, "host.delete", &host.handle, details).await?;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(entered)
}

/// The host that is meant.
///
/// # Errors
/// NotFound, also when it is in another workspace than was said.
pub(crate) async fn find(tx: &mut Tx, input: &Delete) -> Result<(Host, Workspace)> {
    let missing = || Error::not_found("server");
    let host = table::lock_by_handle(tx, &input.server).await?.ok_or_else(missing)?;
    let workspace = workspaces::get(tx, &host.workspace_id).await?.ok_or_else(missing)?;
    if input.workspace.as_ref().is_some_and(|expected| *expected != workspace.name) {
        return Err(missing());
    }
    Ok((host, workspace))
}

/// Enters the deletion of a host with its operation.
///
/// # Errors
/// Conflict.
#[allow(clippy::too_many_arguments)] // the same as its siblings, with a host
pub(crate) async fn enter(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    workspace: &Workspace,
    host: &Host,
    input: &Delete,
    parent: Option<(&OperationId, &str)>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    if host.delete_lock && !input.force {
        let text = format!("server {} is locked against deletion: delete it with force", host.hostname);
        return Err(Error::conflict(text).with_reason("locked"));
    }
    let shared = shared_taskservs(tx, host).await?;
    if !input.force && !shared.is_empty() {
        return Err(Error::conflict(format!(
            "server {} carries {}, which other servers have a part in: remove that first, or delete with force",
            host.hostname,
            shared.join(", ")
        )));
    }
    let request = serde_json::to_value(input).map_err(Error::internal)?;
    let mut new = New::of(OperationKind::ServerDelete, workspace, host.handle.clone(), request);
    (new.parent, new.retry_of, new.check_mode) = (parent, retry_of, input.check_mode);
    let who = actor.principal.label();
    if input.check_mode {
        return operation::enter(app, tx, actor, new, |id| CheckOperation::job(id, &who)).await;
    }
    new.locks = vec![begin::host_lock(&host.id)];
    operation::enter(app, tx, actor, new, |id| {
        NewJob::saga::<App, DeleteHost>(&Removing::of(id.clone(), host, input.force), &who)
    })
    .await
}

/// Taskservs on it that are on other hosts too.
async fn shared_taskservs(tx: &mut Tx, host: &Host) -> Result<Vec<String>> {
    let placed = reeve_store::taskserv::on_hosts(tx, std::slice::from_ref(&host.id)).await?;
    Ok(placed.into_iter().filter(|placed| placed.hosts.len() > 1).map(|placed| placed.taskserv.name).collect())
}
