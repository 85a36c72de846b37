//! Sessions, and who is asking.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::identity::{me, session};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::auth::{Login, MeView, Refresh, SessionView};

/// POST /api/auth/login
pub async fn login(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Login = call.body()?;
    let tokens = session::login(&app, &call.actor, &input.username, &input.password).await?;
    Reply::ok(&SessionView::from(tokens))?.with("cache-control", "no-store")
}

/// POST /api/auth/refresh
pub async fn refresh(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    let tokens = session::refresh(&app, &call.actor, &input.refresh_token).await?;
    Reply::ok(&SessionView::from(tokens))?.with("cache-control", "no-store")
}

/// POST /api/auth/logout
pub async fn logout(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Refresh = call.body()?;
    session::logout(&app, &call.actor, &input.refresh_token).await?;
    Ok(Reply::no_content())
}

/// GET /api/me
pub async fn me(app: Arc<App>, call: Call) -> Result<Reply> {
    let me = me::get(&app, &call.actor).await?;
    Reply::ok(&MeView::from(me))
}
