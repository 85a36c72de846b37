//! Taskservs: listed here; what installs them is the engine.
//!
//! An engine puts its own in place of [`prepare`], [`enter`], [`check`] and [`health`]: until then every request says that
//! this build has none.

use reeve_store::{Tx, taskserv as table, workspace as workspaces};
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::taskserv::Placed;
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, OperationId, Permission, Result, Secret};
use serde_json::Value;

use crate::plan::Content;
use crate::{App, authz};

/// A list holds no more.
pub const MOST: i64 = 100_000;

/// Taskservs of all workspaces or of one, the oldest first.
///
/// # Errors
/// As the store. An unknown workspace has none.
pub async fn list(app: &App, actor: &Actor, workspace: Option<&str>) -> Result<Vec<Placed>> {
    authz::require(actor, Permission::TaskservsRead)?;
    let mut tx = app.store.read().await?;
    let Some(name) = workspace else { return table::list(&mut tx, None, MOST).await };
    let Some(found) = workspaces::by_name(&mut tx, name).await? else { return Ok(Vec::new()) };
    table::list(&mut tx, Some(&found.id), MOST).await
}

/// One taskserv by its handle.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, handle: &str) -> Result<Placed> {
    authz::require(actor, Permission::TaskservsRead)?;
    table::by_handle(&mut app.store.read().await?, handle).await?.ok_or_else(|| Error::not_found("taskserv"))
}

/// Asks for an installation: a JSON object with `workspace`, `name`, `servers`, `config`, `check_mode`.
///
/// # Errors
/// Invalid; Conflict.
pub async fn create(app: &App, actor: &Actor, request: Value) -> Result<Operation> {
    authz::require(actor, Permission::TaskservsCreate)?;
    again(app, actor, OperationKind::TaskservCreate, request, None, None).await
}

/// Asks for another version or configuration: `taskserv`, `config`, `check_mode`.
///
/// # Errors
/// NotFound; Invalid; Conflict.
pub async fn upgrade(app: &App, actor: &Actor, request: Value) -> Result<Operation> {
    authz::require(actor, Permission::TaskservsCreate)?;
    again(app, actor, OperationKind::TaskservUpgrade, request, None, None).await
}

/// Asks for a removal: `taskserv`, `workspace` (as a check, or null), `force`, `check_mode`.
///
/// # Errors
/// NotFound; Conflict.
pub async fn delete(app: &App, actor: &Actor, request: Value) -> Result<Operation> {
    authz::require(actor, Permission::TaskservsDelete)?;
    again(app, actor, OperationKind::TaskservDelete, request, None, None).await
}

/// What a taskserv's health checks say, asked of its hosts.
///
/// # Errors
/// NotFound.
pub async fn health(app: &App, actor: &Actor, handle: &str) -> Result<Value> {
    get(app, actor, handle).await?;
    Err(no_engine())
}

/// The names that can be installed.
///
/// # Errors
/// Forbidden.
pub async fn catalogue(_: &App, actor: &Actor) -> Result<Vec<Value>> {
    authz::require(actor, Permission::TaskservsRead)?;
    Ok(Vec::new())
}

/// A request that may be entered.
pub(crate) struct Prepared {}

/// Checks a request. May ask hosts, so call it outside of a transaction.
pub(crate) async fn prepare(_: &App, _: &Workspace, _: OperationKind, _: Value) -> Result<Prepared> {
    Err(no_engine())
}

/// Enters a prepared request with its operation.
#[allow(clippy::too_many_arguments)] // as for hosts
pub(crate) async fn enter(
    _: &App,
    _: &mut Tx,
    _: &Actor,
    _: &Workspace,
    _: Prepared,
    _: Option<(&OperationId, &str)>,
    _: Option<OperationId>,
) -> Result<Operation> {
    Err(no_engine())
}

/// Asks for it, again or for the first time. `secrets` are those that were sealed with the operation before.
pub(crate) async fn again(
    _: &App,
    _: &Actor,
    _: OperationKind,
    _: Value,
    _: Option<Secret>,
    _: Option<OperationId>,
) -> Result<Operation> {
    Err(no_engine())
}

/// What a request would do; `coming` are hosts that the same workflow makes before.
pub(crate) async fn check(_: &App, _: &Workspace, _: OperationKind, _: Value, _: &[String]) -> Result<Content> {
    Err(no_engine())
}

/// What an operation would do.
pub(crate) async fn check_operation(_: &App, _: &Operation) -> Result<Content> {
    Err(no_engine())
}

fn no_engine() -> Error {
    Error::unavailable("this server has no engine for taskservs")
}
