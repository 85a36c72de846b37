//! Clusters.

use std::sync::Arc;

use reeve_domain::{App, cluster};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::cluster::{Create, Query, Update, View};

/// POST /api/v1/clusters
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let made = cluster::create(&app, &call.actor, input.into()).await?;
    let location = format!("/api/v1/clusters/{}", made.cluster.name);
    Reply::created(&location, &View::of(made, &app.config.dns_suffix))
}

/// GET /api/v1/clusters
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = cluster::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(|row| View::of(row, &app.config.dns_suffix)))
}

/// GET /api/v1/clusters/{name}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = cluster::get(&app, &call.actor, call.param("name")).await?;
    Reply::ok(&View::of(found, &app.config.dns_suffix))
}

/// PATCH /api/v1/clusters/{name}
pub async fn update(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Update = call.body()?;
    let changed = cluster::update(&app, &call.actor, call.param("name"), input.node_limit).await?;
    Reply::ok(&View::of(changed, &app.config.dns_suffix))
}

/// DELETE /api/v1/clusters/{name}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    cluster::delete(&app, &call.actor, call.param("name")).await?;
    Ok(Reply::no_content())
}
