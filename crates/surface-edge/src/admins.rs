//! This server, its group, and what its members have been assigned.

use std::sync::Arc;

use reeve_domain::{App, admin, admin_metrics};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::admin::{GroupView, TopologyView, View};
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

/// GET /api/v1/admins/my_admin_cluster
pub async fn my_admin_cluster(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&TopologyView::from(admin::my_cluster(&app, &call.actor).await?))
}

/// GET /api/v1/admins/admin_clusters
pub async fn admin_clusters(app: Arc<App>, call: Call) -> Result<Reply> {
    let groups = admin::clusters(&app, &call.actor).await?;
    Reply::ok(&groups.into_iter().map(GroupView::from).collect::<Vec<_>>())
}

/// GET /api/v1/admins/edge_clusters
pub async fn edge_clusters(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&admin::edge_clusters(&app, &call.actor).await?)
}

/// GET /api/v1/admins/orphaned_clusters
pub async fn orphaned_clusters(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&admin::orphaned_clusters(&app, &call.actor).await?)
}
