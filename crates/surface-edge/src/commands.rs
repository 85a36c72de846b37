//! Commands and their rollouts.

use std::sync::Arc;

use reeve_domain::{App, command};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::command::{Create, Query, Summary, View};
use crate::ids;

/// POST /api/v1/commands
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let document = call.body["targeting"].clone();
    let input: Create = call.body()?;
    let made = command::create(&app, &call.actor, input.into_domain(document)?).await?;
    Reply::created(&format!("/api/v1/commands/{}", made.command.id), &View::from(made))
}

/// GET /api/v1/commands
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = command::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(View::from))
}

/// GET /api/v1/commands/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(command::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// DELETE /api/v1/commands/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    command::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}

/// GET /api/v1/commands/{id}/summary
pub async fn summary(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Summary::from(command::get(&app, &call.actor, &ids::of(&call)).await?.summary))
}

/// POST /api/v1/commands/{id}/cancel
pub async fn cancel(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Summary::from(command::cancel(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/commands/{id}/rollout/pause
pub async fn pause(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(command::pause(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/commands/{id}/rollout/resume
pub async fn resume(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(command::resume(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/commands/{id}/rollout/abort
pub async fn abort(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(command::abort(&app, &call.actor, &ids::of(&call)).await?))
}
