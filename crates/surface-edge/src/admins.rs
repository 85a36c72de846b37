//! This server.

use std::sync::Arc;

use reeve_domain::{App, admin, admin_metrics};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::admin::View;
use crate::dto::admin_metrics as dto;

/// GET /api/v1/admins/me
pub async fn me(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(admin::me(&app, &call.actor).await?))
}

/// GET /api/v1/admins/me/metrics
pub async fn metrics(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&dto::view(&admin_metrics::me(&app, &call.actor).await?, &app.counters))
}

/// GET /api/v1/admins/me/metrics/raw
pub async fn metrics_raw(app: Arc<App>, call: Call) -> Result<Reply> {
    Ok(dto::exposition(&admin_metrics::me(&app, &call.actor).await?, &app.counters).reply())
}
