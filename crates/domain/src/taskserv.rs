//! Taskservs: software of the catalogue, installed on hosts of a workspace over SSH. What is installed, how and in which
//! order is decided in `reeve_taskservs`; here it is stored, locked, carried out and taken back.

use reeve_store::{taskserv as table, workspace as workspaces};
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::taskserv::Placed;
use reeve_types::{Actor, Error, OperationId, Permission, Result, Secret};
use serde_json::{Value, json};

use crate::operation::begin;
use crate::{App, audit, authz, workspace};

mod check;
mod delete_saga;
mod enter;
mod health;
mod install_saga;
pub(crate) mod layers;
mod machine;
mod request;
mod world;

pub(crate) use check::{check, check_operation};
pub use delete_saga::{RemoveTaskserv, Removing};
pub(crate) use enter::enter;
pub use health::health;
pub use install_saga::{InstallTaskserv, Installing};
pub(crate) use request::{first_wrong, prepare};

/// A list holds no more.
pub const MOST: i64 = 100_000;
/// Machines worked on at once by one operation.
const AT_ONCE: usize = 10;

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

/// One taskserv by its handle, and whether its workspace laid something over its definition when it was installed.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, handle: &str) -> Result<(Placed, bool)> {
    authz::require(actor, Permission::TaskservsRead)?;
    let found = table::by_handle(&mut app.store.read().await?, handle).await?;
    let placed = found.ok_or_else(|| Error::not_found("taskserv"))?;
    let layered = !world::settings(app, &placed.taskserv)?.layers.is_empty();
    Ok((placed, layered))
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

/// Asks for a removal: `taskserv`, `workspace` (as a check, or null), `force`, `remove_data`, `check_mode`.
///
/// # Errors
/// NotFound; Conflict.
pub async fn delete(app: &App, actor: &Actor, request: Value) -> Result<Operation> {
    authz::require(actor, Permission::TaskservsDelete)?;
    again(app, actor, OperationKind::TaskservDelete, request, None, None).await
}

/// What can be installed, with everything that may be set: as a workspace has it, or as everybody has it.
///
/// # Errors
/// Invalid for an unknown workspace; Conflict when what it lays over the catalogue is wrong.
pub async fn catalogue(app: &App, actor: &Actor, workspace: Option<&str>) -> Result<Vec<Value>> {
    authz::require(actor, Permission::TaskservsRead)?;
    let found = match workspace {
        Some(name) => Some(workspace::named(&mut app.store.read().await?, name).await?),
        None => None,
    };
    let catalogue = layers::catalogue(found.as_ref()).await?;
    let common = serde_json::to_value(catalogue.common()).map_err(Error::internal)?;
    let shown = |definition: &reeve_taskservs::Definition| {
        let depends: Vec<Value> = definition
            .depends
            .iter()
            .map(|d| json!({"on": d.on, "kind": d.kind, "scope": d.scope, "when": d.when}))
            .collect();
        json!({
            "name": definition.name, "title": definition.title, "category": definition.category,
            "about": definition.about, "versions": definition.versions, "default_version": definition.versions.first(),
            "depends": depends, "parameters": definition.parameters, "common_parameters": common,
            "servers": definition.servers, "health": definition.health,
            "layer": if catalogue.layers(&definition.name).is_empty() { "core" } else { "workspace" },
        })
    };
    Ok(catalogue.iter().map(shown).collect())
}

/// Asks for it, again or for the first time. `secrets` are those that were sealed with the operation before: the request as
/// it was made.
pub(crate) async fn again(
    app: &App,
    actor: &Actor,
    kind: OperationKind,
    request: Value,
    secrets: Option<Secret>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let request = request::whole(request, secrets)?;
    let found = {
        let mut tx = app.store.read().await?;
        match kind {
            OperationKind::TaskservCreate => {
                let name = request["workspace"].as_str().unwrap_or_default();
                workspace::named(&mut tx, name).await?
            }
            _ => {
                let handle = request["taskserv"].as_str().unwrap_or_default();
                let placed = table::by_handle(&mut tx, handle).await?.ok_or_else(|| Error::not_found("taskserv"))?;
                let found = workspaces::get(&mut tx, &placed.taskserv.workspace_id).await?;
                let found = found.ok_or_else(|| Error::not_found("workspace"))?;
                let expected = request["workspace"].as_str();
                if expected.is_some_and(|expected| expected != found.name) {
                    return Err(Error::not_found("taskserv"));
                }
                found
            }
        }
    };
    let prepared = prepare(app, &found, kind, request).await?;
    let details = prepared.told();
    let mut tx = app.begin(actor).await?;
    let entered = enter(app, &mut tx, actor, &found, prepared, None, retry_of).await?;
    let action = match kind {
        OperationKind::TaskservDelete => "taskserv.delete",
        OperationKind::TaskservUpgrade => "taskserv.upgrade",
        _ => "taskserv.create",
    };
    audit::record(app, &mut tx, actor, action, entered.id.as_str(), details).await?;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Where a taskserv's settings are sealed.
fn aad(id: &reeve_types::TaskservId) -> crate::seal::Aad<'_> {
    crate::seal::Aad::new("taskservs", "secrets_sealed", id.as_str())
}
