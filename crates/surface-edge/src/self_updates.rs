//! Self-update requests and their rollouts.

use std::sync::Arc;

use reeve_domain::{App, self_update};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::self_update::{Create, NodeView, NodesQuery, Query, View};
use crate::ids;

/// POST /api/v1/self_update_requests
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let document = call.body["targeting"].clone();
    let input: Create = call.body()?;
    let made = self_update::create(&app, &call.actor, input.into_domain(document)?).await?;
    Reply::created(&format!("/api/v1/self_update_requests/{}", made.request.id), &View::from(made))
}

/// GET /api/v1/self_update_requests
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = self_update::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(View::from))
}

/// GET /api/v1/self_update_requests/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(self_update::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// DELETE /api/v1/self_update_requests/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    self_update::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}

/// GET /api/v1/self_update_requests/{id}/nodes
pub async fn nodes(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: NodesQuery = call.query()?;
    let found = self_update::targets(&app, &call.actor, &ids::of(&call), &query.states(), call.page()).await?;
    Reply::page(&found.map(NodeView::from))
}

/// POST /api/v1/self_update_requests/{id}/rollout/pause
pub async fn pause(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(self_update::pause(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/self_update_requests/{id}/rollout/resume
pub async fn resume(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(self_update::resume(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/self_update_requests/{id}/rollout/abort
pub async fn abort(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(self_update::abort(&app, &call.actor, &ids::of(&call)).await?))
}
