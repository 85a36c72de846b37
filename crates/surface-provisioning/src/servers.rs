//! Servers.

use std::sync::Arc;
use std::time::Duration;

use reeve_domain::App;
use reeve_domain::host::{self, Delete, Power};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result};

use crate::dto::operation;
use crate::dto::server::{AccessView, CreateServer, DeleteServer, Detail, OpenAccess, Query, View};

/// GET /v1/servers
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let hosts = host::list(&app, &call.actor, query.filter(), query.workspace.as_deref()).await?;
    Reply::ok(&hosts.into_iter().map(View::from).collect::<Vec<_>>())
}

/// POST /v1/servers/create
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let (input, secrets) = call.body::<CreateServer>()?.split()?;
    Reply::ok(&operation::View::from(host::create(&app, &call.actor, input, secrets).await?))
}

/// GET /v1/servers/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Detail::from(host::get(&app, &call.actor, call.param("id")).await?))
}

/// GET /v1/servers/{id}/status
pub async fn status(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(host::power::status(&app, &call.actor, call.param("id")).await?))
}

/// DELETE /v1/servers/{id}
pub async fn delete(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: DeleteServer = call.body()?;
    let server = call.param("id").to_owned();
    if body.server_id.as_ref().is_some_and(|id| *id != server) {
        return Err(Error::invalid("server_id", format!("is not {server}, the server of the path")));
    }
    let input = Delete { server, workspace: body.workspace, force: body.force, check_mode: body.check_mode };
    Reply::ok(&operation::View::from(host::delete(&app, &call.actor, input).await?))
}

/// POST /v1/servers/{id}/start
pub async fn start(app: Arc<App>, call: Call) -> Result<Reply> {
    power(&app, &call, Power::Start).await
}

/// POST /v1/servers/{id}/stop
pub async fn stop(app: Arc<App>, call: Call) -> Result<Reply> {
    power(&app, &call, Power::Stop).await
}

/// POST /v1/servers/{id}/reboot
pub async fn reboot(app: Arc<App>, call: Call) -> Result<Reply> {
    power(&app, &call, Power::Reboot).await
}

async fn power(app: &App, call: &Call, power: Power) -> Result<Reply> {
    Reply::ok(&operation::View::from(host::power(app, &call.actor, call.param("id"), power).await?))
}

/// POST /v1/servers/{id}/ssh
pub async fn ssh(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: OpenAccess = call.body()?;
    let life = Duration::from_secs(body.ttl_seconds);
    let access = host::access::grant(&app, &call.actor, call.param("id"), &body.public_key, life).await?;
    Reply::ok(&AccessView::from(access))
}
