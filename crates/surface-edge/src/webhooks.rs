//! Webhooks and their delivery log.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::webhook::{self, delivery};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::webhook::{Create, DeliveryView, LogQuery, Query, Redeliver, RedeliveredView, Update, View};
use crate::ids;

/// POST /api/v1/webhooks
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let made = webhook::create(&app, &call.actor, input.into()).await?;
    let location = format!("/api/v1/webhooks/{}", made.id);
    Reply::created(&location, &View::of(made, app.now()))
}

/// GET /api/v1/webhooks
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = webhook::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(|row| View::of(row, app.now())))
}

/// GET /api/v1/webhooks/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::of(webhook::get(&app, &call.actor, &ids::of(&call)).await?, app.now()))
}

/// PATCH /api/v1/webhooks/{id}
pub async fn update(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Update = call.body()?;
    let changed = webhook::update(&app, &call.actor, &ids::of(&call), input.into()).await?;
    Reply::ok(&View::of(changed, app.now()))
}

/// DELETE /api/v1/webhooks/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    webhook::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}

/// POST /api/v1/webhooks/{id}/pause
pub async fn pause(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::of(webhook::pause(&app, &call.actor, &ids::of(&call)).await?, app.now()))
}

/// POST /api/v1/webhooks/{id}/resume
pub async fn resume(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::of(webhook::resume(&app, &call.actor, &ids::of(&call)).await?, app.now()))
}

/// POST /api/v1/webhooks/{id}/test
pub async fn test(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::accepted(&DeliveryView::from(delivery::send_test(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/webhooks/{id}/redeliver
pub async fn redeliver(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let Redeliver { since, until } = call.body()?;
    let until = until.map(|until| until.0);
    let done = delivery::redeliver_since(&app, &call.actor, &ids::of(&call), since.0, until).await?;
    Reply::accepted(&RedeliveredView::from(done))
}

/// GET /api/v1/webhooks/{id}/deliveries
pub async fn deliveries(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: LogQuery = call.query()?;
    let filter = query.filter(Some(ids::of(&call)));
    Reply::page(&delivery::list(&app, &call.actor, &filter, call.page()).await?.map(DeliveryView::from))
}

/// GET /api/v1/webhook_deliveries
pub async fn all_deliveries(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: LogQuery = call.query()?;
    let filter = query.filter(None);
    Reply::page(&delivery::list(&app, &call.actor, &filter, call.page()).await?.map(DeliveryView::from))
}

/// GET /api/v1/webhook_deliveries/{id}
pub async fn delivery(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&DeliveryView::from(delivery::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// POST /api/v1/webhook_deliveries/{id}/redeliver
pub async fn redeliver_one(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::accepted(&DeliveryView::from(delivery::redeliver(&app, &call.actor, &ids::of(&call)).await?))
}
