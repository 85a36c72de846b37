//! What can be subscribed to.

use std::sync::Arc;

use reeve_domain::{App, event};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

/// GET /api/v1/event_types
pub async fn list(_: Arc<App>, _: Call) -> Result<Reply> {
    Reply::ok(&event::CATALOG)
}
