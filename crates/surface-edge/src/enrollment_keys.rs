//! Enrollment keys.

use std::sync::Arc;

use reeve_domain::{App, enrollment_key};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::enrollment_key::{Create, Query, Update, View};
use crate::ids;

fn created(key: enrollment_key::Opened) -> Result<Reply> {
    Reply::created(&format!("/api/v1/enrollment_keys/{}", key.row.id), &View::from(key))
}

/// POST /api/v1/clusters/{cluster_name}/enrollment_keys
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Option<Create> = call.body()?;
    let input = input.unwrap_or_default().into();
    created(enrollment_key::create(&app, &call.actor, call.param("cluster_name"), input).await?)
}

/// POST /api/v1/clusters/default/enrollment_keys
pub async fn create_default(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Option<Create> = call.body()?;
    created(enrollment_key::create_for_default(&app, &call.actor, input.unwrap_or_default().into()).await?)
}

/// POST /api/v1/clusters/default/enrollment_keys/public
pub async fn create_public(app: Arc<App>, call: Call) -> Result<Reply> {
    let key = enrollment_key::create_public(&app, &call.actor).await?;
    // Who has no credentials cannot follow a Location.
    Reply::created("", &View::from(key))
}

/// GET /api/v1/enrollment_keys
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let key = query.key.clone();
    let found =
        enrollment_key::list(&app, &call.actor, query.into(), key.as_deref(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(View::from))
}

/// GET /api/v1/enrollment_keys/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(enrollment_key::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// PATCH /api/v1/enrollment_keys/{id}
pub async fn update(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Update = call.body()?;
    Reply::ok(&View::from(enrollment_key::update(&app, &call.actor, &ids::of(&call), input.into()).await?))
}

/// DELETE /api/v1/enrollment_keys/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    enrollment_key::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}
