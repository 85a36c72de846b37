//! This server.

use std::sync::Arc;

use reeve_domain::{App, admin};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::admin::View;

/// GET /api/v1/admins/me
pub async fn me(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(admin::me(&app, &call.actor).await?))
}
