//! Taskservs.

use std::sync::Arc;

use reeve_domain::{App, taskserv};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result};
use serde_json::{Value, json};

use crate::dto::operation;
use crate::dto::taskserv::{CatalogueQuery, DeleteTaskserv, Detail, Query, UpgradeTaskserv, View};

/// GET /v1/taskservs
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = taskserv::list(&app, &call.actor, query.workspace.as_deref()).await?;
    Reply::ok(&found.into_iter().map(View::from).collect::<Vec<_>>())
}

/// POST /v1/taskservs/create
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: Value = call.body()?;
    Reply::ok(&operation::View::from(taskserv::create(&app, &call.actor, body).await?))
}

/// GET /v1/taskservs/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Detail::from(taskserv::get(&app, &call.actor, call.param("id")).await?))
}

/// DELETE /v1/taskservs/{id}
pub async fn delete(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: DeleteTaskserv = call.body()?;
    let id = call.param("id").to_owned();
    if body.taskserv_id.as_ref().is_some_and(|other| *other != id) {
        return Err(Error::invalid("taskserv_id", format!("is not {id}, the taskserv of the path")));
    }
    let request = json!({
        "workspace": body.workspace, "taskserv": id, "force": body.force, "remove_data": body.remove_data,
        "check_mode": body.check_mode,
    });
    Reply::ok(&operation::View::from(taskserv::delete(&app, &call.actor, request).await?))
}

/// POST /v1/taskservs/{id}/upgrade
pub async fn upgrade(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: UpgradeTaskserv = call.body()?;
    let request = json!({
        "taskserv": call.param("id"), "config": body.config, "check_mode": body.check_mode,
        "preserve_on_failure": body.preserve_on_failure,
    });
    Reply::ok(&operation::View::from(taskserv::upgrade(&app, &call.actor, request).await?))
}

/// GET /v1/taskservs/{id}/health
pub async fn health(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&taskserv::health(&app, &call.actor, call.param("id")).await?)
}

/// GET /v1/taskservs/catalogue
pub async fn catalogue(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: CatalogueQuery = call.query()?;
    Reply::ok(&taskserv::catalogue(&app, &call.actor, query.workspace.as_deref()).await?)
}
