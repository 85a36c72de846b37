//! SSH usernames.

use std::sync::Arc;

use reeve_domain::{App, ssh_username};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::ssh::{CreateUsername, UsernameQuery, UsernameView, Verification, Verify};
use crate::ids;

/// POST /api/v1/nodes/{node_id}/ssh_usernames
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: CreateUsername = call.body()?;
    let made = ssh_username::create(&app, &call.actor, &ids::named(&call, "node_id"), input.into()).await?;
    Reply::created(&format!("/api/v1/ssh_usernames/{}", made.row.id), &UsernameView::from(made))
}

/// POST /api/v1/nodes/{node_id}/ssh_usernames/verify
pub async fn verify(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Verify = call.body()?;
    let node = ids::named(&call, "node_id");
    let verified = ssh_username::try_credentials(&app, &call.actor, &node, &input.username, &input.offer()).await?;
    Reply::ok(&Verification { verified })
}

/// GET /api/v1/ssh_usernames
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: UsernameQuery = call.query()?;
    let found = ssh_username::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(UsernameView::from))
}

/// GET /api/v1/ssh_usernames/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&UsernameView::from(ssh_username::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// DELETE /api/v1/ssh_usernames/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    ssh_username::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}
