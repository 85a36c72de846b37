//! The audit log.

use reeve_domain::audit;
use reeve_http_kit::{Call, Reply};
use reeve_types::audit::AuditFilter;
use reeve_types::{Error, Range, Result, TextMatch, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::dto::AuditView;
use crate::routes::State;

#[derive(Deserialize)]
struct Query {
    action: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// GET /api/audit
pub async fn list(state: State, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let at = |field: &str, text: Option<&String>| {
        text.map(|t| Timestamp::parse(t).ok_or_else(|| Error::invalid(field, "is not an instant"))).transpose()
    };
    let filter = AuditFilter {
        action: query.action.as_deref().map(TextMatch::parse),
        actor: query.actor.as_deref().map(TextMatch::parse),
        subject: query.subject.as_deref().map(TextMatch::parse),
        at: Range { gte: at("since", query.since.as_ref())?, lte: at("until", query.until.as_ref())? },
    };
    let found = audit::list(&state.app, &call.actor, &filter, call.page()).await?;
    Reply::page(&found.map(AuditView::from))
}

/// GET /api/audit/verify
pub async fn verify(state: State, call: Call) -> Result<Reply> {
    let found = audit::verify(&state.app, &call.actor).await?;
    Reply::ok(&json!({
        "ok": found.ok, "entries": found.entries, "first_bad": found.first_bad, "problem": found.problem,
    }))
}
