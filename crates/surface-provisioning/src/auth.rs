//! Sessions, and who is asking.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::identity::{me, session};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::auth::{LoggedOut, Login, MeView, Refresh, TokensView};

/// POST /v1/auth/login
pub async fn login(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Login = call.body()?;
    let tokens = session::login(&app, &call.actor, &input.username, &input.password).await?;
    Reply::ok(&TokensView::from(tokens))?.with("cache-control", "no-store")
}

/// POST /v1/auth/refresh
pub async fn refresh(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    // Refreshing from several processes at once logs none of them out.
    let grace_ms = i64::try_from(app.config.provisioning.refresh_grace.as_millis()).unwrap_or(i64::MAX);
    let tokens = session::refresh_served(&app, &call.actor, &input.refresh_token, grace_ms).await?;
    Reply::ok(&TokensView::from(tokens))?.with("cache-control", "no-store")
}

/// POST /v1/auth/logout
pub async fn logout(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    session::logout(&app, &call.actor, &input.refresh_token).await?;
    Reply::ok(&LoggedOut { logged_out: true })
}

/// GET /v1/auth/me
pub async fn me(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&MeView::from(me::get(&app, &call.actor).await?))
}
