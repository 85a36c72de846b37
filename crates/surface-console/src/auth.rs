//! Logins and who is asking.

use reeve_domain::identity::{me as identity, session};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Result, Secret};
use serde::Deserialize;
use serde_json::json;

use crate::dto::UserView;
use crate::routes::State;

#[derive(Deserialize)]
struct Login {
    username: String,
    password: Secret,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: Secret,
}

/// POST /api/auth/login
pub async fn login(state: State, mut call: Call) -> Result<Reply> {
    let input: Login = call.body()?;
    tokens(session::login(&state.app, &call.actor, &input.username, &input.password).await?)
}

/// POST /api/auth/refresh
pub async fn refresh(state: State, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    tokens(session::refresh(&state.app, &call.actor, &input.refresh_token).await?)
}

fn tokens(tokens: session::Tokens) -> Result<Reply> {
    Reply::ok(&json!({
        "access_token": tokens.access_token.expose(),
        "access_expires_at": tokens.access_expires_at.rfc3339_secs(),
        "refresh_token": tokens.refresh_token.expose(),
        "refresh_expires_at": tokens.refresh_expires_at.rfc3339_secs(),
        "user": UserView::from(tokens.user),
    }))
}

/// POST /api/auth/logout
pub async fn logout(state: State, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    session::logout(&state.app, &call.actor, &input.refresh_token).await?;
    Ok(Reply::no_content())
}

/// GET /api/me
pub async fn me(state: State, call: Call) -> Result<Reply> {
    let me = identity::get(&state.app, &call.actor).await?;
    let permissions: Vec<&str> = me.permissions.iter().map(|p| p.word()).collect();
    Reply::ok(&json!({
        "id": me.id, "kind": me.kind, "name": me.name, "role": me.role.map(|r| r.word()), "permissions": permissions,
    }))
}
