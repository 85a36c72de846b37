//! What the sagas of hosts share: the way to the machine's provider, and what a provider's refusal means for a step.

use std::time::Duration;

use futures::TryStreamExt;
use reeve_jobs::Failure;
use reeve_ports::cloud::{CloudServer, CloudServerId, LabelFilter, OperationTag, Removal};
use reeve_ports::{Cloud, CloudError, CloudErrorKind};
use reeve_store::{host as table, operation as operations, workspace as workspaces};
use reeve_types::host::Host;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, HostId, OperationId, Result};

use crate::credential::{Account, account};
use crate::seal::Aad;
use crate::{App, operation};

/// Where a host's own private key is sealed.
pub(crate) fn aad(id: &HostId) -> Aad<'_> {
    Aad::new("hosts", "ssh_key_sealed", id.as_str())
}

/// A host with its workspace. None once it is gone.
pub(super) async fn host(app: &App, id: &HostId) -> Result<Option<(Host, Workspace)>> {
    let mut tx = app.store.read().await?;
    let Some(host) = table::get(&mut tx, id).await? else { return Ok(None) };
    let found = workspaces::get(&mut tx, &host.workspace_id).await?;
    Ok(Some((host, found.ok_or_else(|| Error::not_found("workspace"))?)))
}

/// As [`host`], for steps that cannot do without.
pub(super) async fn must(app: &App, id: &HostId) -> Result<(Host, Workspace), Failure> {
    Ok(host(app, id).await?.ok_or_else(|| Error::conflict("the server is not known any more"))?)
}

pub(super) async fn account_of(app: &App, host: &Host, workspace: &Workspace) -> Result<Account, Failure> {
    account(app, workspace, &host.provider).await.map_err(Failure::from)
}

/// Whether somebody called the operation off: a step that could still wait for long stops then.
pub(super) async fn is_cancelled(app: &App, id: &OperationId) -> Result<bool> {
    let found = operations::get(&mut app.store.read().await?, id).await?;
    Ok(found.is_none_or(|found| found.status.is_final()))
}

/// The pause between two looks at a machine on its way.
pub(super) fn pause(app: &App, cloud: &dyn Cloud) -> Duration {
    let usual = app.config.provisioning.poll;
    cloud.look_ms().map_or(usual, |ms| Duration::from_millis(ms).min(usual))
}

/// What a provider's refusal means for a step.
pub(super) fn failure(cloud: &dyn Cloud, error: CloudError) -> Failure {
    let kind = error.kind;
    let ms = match kind {
        CloudErrorKind::Ambiguous => Some(cloud.settle_ms()),
        _ => error.retry_after_ms,
    };
    let passing = error.is_passing();
    let text = error.to_string();
    // What an account may not do, or has no credit for, is for a person to change: it fails, whatever the caller sees.
    if passing {
        return Failure::Retry { after: ms.map(Duration::from_millis), error: Error::unavailable(text) };
    }
    Failure::Fail(match kind {
        CloudErrorKind::Invalid { field } if !field.is_empty() => Error::invalid(field, text),
        _ => Error::conflict(text),
    })
}

/// Machines that carry a tag, asked of the provider.
pub(super) async fn tagged(cloud: &dyn Cloud, tag: &str) -> Result<Vec<CloudServer>, Failure> {
    let tag = OperationTag::new(tag).map_err(|error| failure(cloud, error))?;
    let filter = LabelFilter::operation(&tag);
    let found: Result<Vec<CloudServer>, CloudError> = cloud.list(&filter).try_collect().await;
    found.map_err(|error| failure(cloud, error))
}

/// One step towards no machine. True once it is gone.
pub(super) async fn remove(cloud: &dyn Cloud, id: &CloudServerId) -> Result<bool, Failure> {
    match cloud.delete(id).await {
        Ok(Removal::Gone) => Ok(true),
        Ok(Removal::Pending) => Ok(false),
        Err(error) if error.kind == CloudErrorKind::NotFound => Ok(true),
        Err(error) => Err(failure(cloud, error)),
    }
}

/// Puts a line into the operation's log.
pub(super) fn say(job: &reeve_jobs::Running, text: &str) {
    job.output.line(text);
}

/// For the undo of every first step.
pub(super) async fn why(
    app: &App,
    job: &reeve_jobs::Running,
    into: &mut Option<operation::Why>,
) -> Result<(), Failure> {
    *into = Some(operation::why(app, job).await?);
    Ok(())
}

/// A node whose machine goes is no node any more.
pub(super) async fn forget_node(app: &App, job: &reeve_jobs::Running, host: &Host) -> Result<(), Failure> {
    let Some(node) = &host.node_id else { return Ok(()) };
    match crate::node::delete(app, &reeve_types::Actor::system(), node).await {
        Ok(()) => say(job, &format!("node {node} is deleted with its machine")),
        Err(error) if error.kind == reeve_types::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
