//! Executions.

use std::sync::Arc;

use reeve_domain::{App, execution};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::execution::{CancelView, OutputQuery, Query, View};
use crate::ids;

/// GET /api/v1/command_executions
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = execution::list(&app, &call.actor, &query.into(), &call.sort(), call.page()).await?;
    Reply::page(&found.map(View::from))
}

/// GET /api/v1/command_executions/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(execution::get(&app, &call.actor, &ids::of(&call)).await?))
}

/// DELETE /api/v1/command_executions/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    execution::delete(&app, &call.actor, &ids::of(&call)).await?;
    Ok(Reply::no_content())
}

/// PATCH /api/v1/command_executions/{id}/cancel
pub async fn cancel(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&CancelView::from(execution::cancel(&app, &call.actor, &ids::of(&call)).await?))
}

/// GET /api/v1/command_executions/{id}/output
pub async fn output(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: OutputQuery = call.query()?;
    let piece = execution::output(&app, &call.actor, &ids::of(&call), query.offset).await?;
    Reply::text(piece.text).with("x-next-offset", &piece.next_offset.to_string())
}
