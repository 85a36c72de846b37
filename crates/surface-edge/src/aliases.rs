//! Aliases.

use std::sync::Arc;

use reeve_domain::{App, alias};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::alias::{Create, Query, View};
use crate::ids;

/// POST /api/v1/nodes/{node_id}/aliases
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let made = alias::create(&app, &call.actor, &ids::named(&call, "node_id"), &input.name).await?;
    // The original sends no Location here.
    Reply::created("", &View::of(made, &app.config.dns_suffix))
}

/// GET /api/v1/aliases
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = alias::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(|row| View::of(row, &app.config.dns_suffix)))
}

/// GET /api/v1/aliases/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = alias::get(&app, &call.actor, &ids::of(&call)).await?;
    Reply::ok(&View::of(found, &app.config.dns_suffix))
}

/// DELETE /api/v1/aliases/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    alias::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}
