//! Public keys of SSH usernames.

use std::sync::Arc;

use reeve_domain::{App, ssh_public_key};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::ssh::{CreateKey, KeyQuery, KeyView};
use crate::ids;

/// POST /api/v1/ssh_usernames/{ssh_username_id}/ssh_public_keys
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: CreateKey = call.body()?;
    let owner = ids::named(&call, "ssh_username_id");
    let made = ssh_public_key::create(&app, &call.actor, &owner, input.into()).await?;
    Reply::created(&format!("/api/v1/ssh_public_keys/{}", made.id), &KeyView::from(made))
}

/// GET /api/v1/ssh_public_keys
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: KeyQuery = call.query()?;
    let found = ssh_public_key::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(KeyView::from))
}

/// GET /api/v1/ssh_public_keys/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&KeyView::from(ssh_public_key::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// DELETE /api/v1/ssh_public_keys/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    ssh_public_key::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}
