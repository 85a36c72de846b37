//! The audit log.

use std::sync::Arc;

use reeve_domain::{App, audit};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::audit::{Query, View};
use crate::operations::paged;

/// GET /v1/audit
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let page = query.page();
    let found = audit::list(&app, &call.actor, &query.filter()?, page).await?;
    let total = found.total;
    let views: Vec<View> = found.items.into_iter().map(View::from).collect();
    paged(Reply::ok(&views)?, &call, "/v1/audit", page, total)
}
