//! The audit log.

use std::sync::Arc;

use reeve_domain::{App, audit};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::audit::{Query, VerifiedView, View};

/// GET /api/audit
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let found = audit::list(&app, &call.actor, &query.try_into()?, call.page()).await?;
    Reply::page(&found.map(View::from))
}

/// GET /api/audit/verify
pub async fn verify(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&VerifiedView::from(audit::verify(&app, &call.actor).await?))
}
