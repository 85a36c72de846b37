//! Backups: their schedule, one at once, and one that goes out to the caller.

use std::sync::Arc;

use http::header::CONTENT_DISPOSITION;
use reeve_domain::App;
use reeve_domain::backup::{download, schedule};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::backup::{Key, Listing, Set, View};
use crate::dto::job;

/// GET /api/backups/schedule
pub async fn status(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(schedule::status(&app, &call.actor).await?))
}

/// PUT /api/backups/schedule
pub async fn set(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let wanted: Set = call.body()?;
    Reply::ok(&View::from(schedule::set(&app, &call.actor, wanted.try_into()?).await?))
}

/// DELETE /api/backups/schedule
pub async fn unset(app: Arc<App>, call: Call) -> Result<Reply> {
    schedule::unset(&app, &call.actor).await?;
    Ok(Reply::no_content())
}

/// GET /api/backups
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&Listing::from(schedule::list(&app, &call.actor).await?))
}

/// POST /api/backups
pub async fn create(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::accepted(&job::View::from(schedule::run_now(&app, &call.actor).await?))
}

/// POST /api/backups/download
pub async fn download(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let key: Key = call.body()?;
    let download = download::download(&app, &call.actor, key.try_into()?).await?;
    let named = format!("attachment; filename=\"{}\"", download.name);
    Reply::stream("application/octet-stream", download.bytes).with_header(CONTENT_DISPOSITION, &named)
}
