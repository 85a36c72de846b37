//! Nodes.

use std::sync::Arc;

use reeve_domain::{App, node};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::node::{ChangeCluster, Labels, Query, View};
use crate::ids;

/// GET /api/v1/nodes
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = node::list(&app, &call.actor, &query.filter()?, &call.sort(), call.page()).await?;
    Reply::page(&found.map(|row| View::of(row, &app.config.dns_suffix)))
}

/// GET /api/v1/nodes/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = node::get(&app, &call.actor, &ids::of(&call)).await?;
    Reply::ok(&View::of(found, &app.config.dns_suffix))
}

/// DELETE /api/v1/nodes/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    node::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}

/// PATCH /api/v1/nodes/{id}/change_cluster
pub async fn change_cluster(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: ChangeCluster = call.body()?;
    let moved = node::change_cluster(&app, &call.actor, &ids::of(&call), &input.cluster_name).await?;
    Reply::ok(&View::of(moved, &app.config.dns_suffix))
}

/// PATCH /api/v1/nodes/{id}/labels
pub async fn label(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Labels = call.body()?;
    let labelled = node::set_labels(&app, &call.actor, &ids::of(&call), input.labels).await?;
    Reply::ok(&View::of(labelled, &app.config.dns_suffix))
}
