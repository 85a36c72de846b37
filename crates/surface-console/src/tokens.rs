//! API tokens.

use reeve_domain::identity::api_token;
use reeve_http_kit::{Call, Reply};
use reeve_types::{ApiTokenId, Error, Result, Timestamp};
use serde::Deserialize;

use crate::dto::TokenView;
use crate::routes::State;

#[derive(Deserialize)]
struct Create {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<String>,
}

/// GET /api/tokens
pub async fn list(state: State, call: Call) -> Result<Reply> {
    let found = api_token::list(&state.app, &call.actor, call.page()).await?;
    Reply::page(&found.map(|token| TokenView::new(token, None)))
}

/// POST /api/tokens
pub async fn create(state: State, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let at = |text: &str| Timestamp::parse(text).ok_or_else(|| Error::invalid("expires_at", "is not an instant"));
    let expires_at = input.expires_at.as_deref().map(at).transpose()?;
    let input = api_token::Create { name: input.name, scopes: input.scopes, expires_at };
    let (token, secret) = api_token::create(&state.app, &call.actor, input).await?;
    Reply::created(&format!("/api/tokens/{}", token.id), &TokenView::new(token, Some(&secret)))
}

/// DELETE /api/tokens/{id}
pub async fn delete(state: State, call: Call) -> Result<Reply> {
    api_token::delete(&state.app, &call.actor, &ApiTokenId::from(call.param("id"))).await?;
    Ok(Reply::no_content())
}
