//! Providers and what they offer.

use std::sync::Arc;

use reeve_domain::{App, catalogue};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::provider::{ImageView, PlanView, Query, View, ZoneView};

/// GET /v1/providers
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let known = catalogue::providers(&app, &call.actor, query.workspace.as_deref()).await?;
    Reply::ok(&known.into_iter().map(View::from).collect::<Vec<_>>())
}

/// GET /v1/providers/{provider}/plans
pub async fn plans(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&offered(&app, &call).await?.plans.iter().map(PlanView::from).collect::<Vec<_>>())
}

/// GET /v1/providers/{provider}/zones
pub async fn zones(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&offered(&app, &call).await?.zones.iter().map(ZoneView::from).collect::<Vec<_>>())
}

/// GET /v1/providers/{provider}/images
pub async fn images(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&offered(&app, &call).await?.images.iter().map(ImageView::from).collect::<Vec<_>>())
}

async fn offered(app: &App, call: &Call) -> Result<Arc<catalogue::Catalogue>> {
    let query: Query = call.query()?;
    catalogue::get(app, &call.actor, call.param("provider"), query.workspace.as_deref()).await
}
