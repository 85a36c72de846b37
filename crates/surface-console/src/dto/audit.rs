//! Audit entries.

use reeve_domain::audit::Verified;
use reeve_types::audit::{AuditEntry, AuditFilter};
use reeve_types::{Error, Range, Result, TextMatch, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    action: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl TryFrom<Query> for AuditFilter {
    type Error = Error;
    fn try_from(q: Query) -> Result<Self> {
        let text = |text: Option<String>| text.as_deref().map(TextMatch::parse);
        Ok(Self {
            action: text(q.action),
            actor: text(q.actor),
            subject: text(q.subject),
            at: Range { gte: instant("since", q.since, false)?, lte: instant("until", q.until, true)? },
        })
    }
}

fn instant(field: &str, text: Option<String>, end_of_day: bool) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let at = Timestamp::parse_or_date(&text, end_of_day);
    at.map(Some).ok_or_else(|| Error::invalid(field, "is not an RFC 3339 instant or a date"))
}

/// An entry.
#[derive(Debug, Serialize)]
pub struct View {
    seq: i64,
    id: String,
    at: String,
    actor: String,
    remote: String,
    request_id: String,
    action: String,
    subject: String,
    details: Box<RawValue>,
}

impl From<AuditEntry> for View {
    fn from(e: AuditEntry) -> Self {
        // Somebody who writes into the database can leave anything there; the list must still be readable.
        let details = RawValue::from_string(e.details).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self {
            seq: e.seq,
            id: e.id,
            at: e.at.rfc3339_micros(),
            actor: e.actor,
            remote: e.remote,
            request_id: e.request_id,
            action: e.action,
            subject: e.subject,
            details,
        }
    }
}

/// What a check of the chain found.
#[derive(Debug, Serialize)]
pub struct VerifiedView {
    ok: bool,
    entries: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<Verified> for VerifiedView {
    fn from(v: Verified) -> Self {
        Self { ok: v.ok, entries: v.entries, first_bad: v.first_bad, problem: v.problem }
    }
}
