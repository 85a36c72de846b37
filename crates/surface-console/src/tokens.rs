//! API tokens.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::identity::api_token;
use reeve_http_kit::{Call, Reply};
use reeve_types::{ApiTokenId, Result};

use crate::dto::token::{Create, NewView, View};

/// GET /api/tokens
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::page(&api_token::list(&app, &call.actor, call.page()).await?.map(View::from))
}

/// POST /api/tokens
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let (row, secret) = api_token::create(&app, &call.actor, input.try_into()?).await?;
    // No Location: a token cannot be read back.
    Reply::created("", &NewView { view: View::from(row), token: secret.expose().to_owned() })
}

/// DELETE /api/tokens/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    api_token::delete(&app, &call.actor, &ApiTokenId::from(call.param("id"))).await?;
    Ok(Reply::no_content())
}
