//! Asking for the same once more: a failed operation, or what a plan says.

use reeve_store::operation as table;
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use reeve_types::{Actor, Error, OperationId, Permission, Result, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::begin;
use crate::{App, authz, host, taskserv, workflow};

/// A request as it was made.
pub(crate) struct Asked {
    pub kind: OperationKind,
    pub is_workflow: bool,
    pub request: Value,
    pub secrets: Option<Secret>,
    /// The operation that is tried again.
    pub retry_of: Option<Operation>,
}

/// Tries a failed or cancelled operation again, as a new operation that names it. Needs the permission of the operation
/// itself too.
///
/// # Errors
/// NotFound; Conflict when it has not failed, or is part of a workflow; as the request itself.
pub async fn retry(app: &App, actor: &Actor, id: &OperationId) -> Result<Operation> {
    authz::require(actor, Permission::OperationsCancel)?;
    let found = table::get(&mut app.store.read().await?, id).await?.ok_or_else(|| Error::not_found("operation"))?;
    if !matches!(found.status, OperationStatus::Failed | OperationStatus::Cancelled) {
        return Err(Error::conflict(format!(
            "only a failed or cancelled operation can be tried again, this one is {}",
            found.status.word()
        )));
    }
    if let Some(parent) = &found.parent_id {
        return Err(Error::conflict(format!("it is a part of workflow {parent}: try that again")));
    }
    let request = serde_json::from_str(&found.request).map_err(Error::internal)?;
    let secrets = begin::secrets(app, &found)?;
    let asked = Asked { kind: found.kind, is_workflow: found.is_workflow, request, secrets, retry_of: Some(found) };
    ask(app, actor, asked).await
}

/// Asks for it, with the permission that it needs.
pub(crate) async fn ask(app: &App, actor: &Actor, asked: Asked) -> Result<Operation> {
    let Asked { kind, is_workflow, request, secrets, retry_of } = asked;
    if is_workflow {
        authz::require(actor, Permission::WorkflowsSubmit)?;
        let sealed = secrets.ok_or_else(|| Error::internal("a workflow without its parameters"))?;
        let input = workflow::input_of(&sealed)?;
        let parameters = serde_json::Map::clone(&input.parameters);
        let check_mode = request["check_mode"].as_bool().unwrap_or(false);
        let input = workflow::Submit { check_mode, parameters: without_check(parameters), ..input };
        return workflow::again(app, actor, input, retry_of.as_ref()).await;
    }
    let of = retry_of.as_ref().map(|found| found.id.clone());
    match kind {
        OperationKind::ServerCreate => {
            authz::require(actor, Permission::HostsCreate)?;
            host::create::again(app, actor, read(request)?, secrets, of).await
        }
        OperationKind::ServerDelete => {
            authz::require(actor, Permission::HostsDelete)?;
            host::delete::again(app, actor, read(request)?, of).await
        }
        OperationKind::ServerStart | OperationKind::ServerStop | OperationKind::ServerReboot => {
            authz::require(actor, Permission::HostsCreate)?;
            match retry_of {
                Some(found) => host::power::retry(app, actor, &found).await,
                None => Err(Error::internal("a switch has no plan")),
            }
        }
        OperationKind::TaskservCreate | OperationKind::TaskservUpgrade => {
            authz::require(actor, Permission::TaskservsCreate)?;
            taskserv::again(app, actor, kind, request, secrets, of).await
        }
        OperationKind::TaskservDelete => {
            authz::require(actor, Permission::TaskservsDelete)?;
            taskserv::again(app, actor, kind, request, secrets, of).await
        }
        OperationKind::ClusterCreate | OperationKind::ClusterDelete | OperationKind::Batch => {
            Err(Error::internal("a workflow that says it is none"))
        }
    }
}

/// Whether it is a dry run is said beside the parameters here.
fn without_check(mut parameters: serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    parameters.remove("check_mode");
    parameters
}

fn read<T: DeserializeOwned>(request: Value) -> Result<T> {
    serde_json::from_value(request).map_err(Error::internal)
}
