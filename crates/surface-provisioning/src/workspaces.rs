//! Workspaces.

use std::sync::Arc;

use reeve_domain::{App, workspace};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::workspace::{CreateWorkspace, DeleteWorkspace, DeletedView, Detail, PublicKey, UpdateWorkspace, View};

/// GET /v1/workspaces
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = workspace::list(&app, &call.actor).await?;
    Reply::ok(&found.into_iter().map(View::from).collect::<Vec<_>>())
}

/// POST /v1/workspaces/create
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: CreateWorkspace = call.body()?;
    Reply::ok(&View::from(workspace::create(&app, &call.actor, body.into()).await?))
}

/// GET /v1/workspaces/{name}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Detail::from(workspace::get(&app, &call.actor, call.param("name")).await?))
}

/// PATCH /v1/workspaces/{name}
pub async fn update(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: UpdateWorkspace = call.body()?;
    Reply::ok(&Detail::from(workspace::update(&app, &call.actor, call.param("name"), body.into()).await?))
}

/// DELETE /v1/workspaces/{name}
pub async fn delete(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let (body, query): (DeleteWorkspace, DeleteWorkspace) = (call.body()?, call.query()?);
    let name = call.param("name");
    let deleted = workspace::delete(&app, &call.actor, name, body.force || query.force).await?;
    Reply::ok(&DeletedView::of(name, deleted))
}

/// POST /v1/workspaces/{name}/activate
pub async fn activate(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(workspace::activate(&app, &call.actor, call.param("name")).await?))
}

/// GET /v1/workspaces/{name}/key
pub async fn key(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = workspace::get(&app, &call.actor, call.param("name")).await?;
    Reply::ok(&PublicKey { public_key: workspace::key::public(&app, &found).await? })
}
