//! Audit entries.

use reeve_types::audit::{AuditEntry, AuditFilter};
use reeve_types::{Page, Result, TextMatch};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::period;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    action: Option<String>,
    actor: Option<String>,
    created_after: Option<String>,
    created_before: Option<String>,
    page: Option<u64>,
    per_page: Option<u64>,
}

impl Query {
    /// The page that is asked for; an audit log is never shown whole.
    pub fn page(&self) -> Page {
        Page { number: self.page.unwrap_or(1), size: self.per_page.unwrap_or(100) }
    }

    /// Which entries.
    ///
    /// # Errors
    /// Invalid for a wrong instant.
    pub fn filter(&self) -> Result<AuditFilter> {
        let text = |text: &Option<String>| text.as_deref().map(TextMatch::parse);
        let at = period(self.created_after.as_deref(), self.created_before.as_deref())?;
        Ok(AuditFilter { action: text(&self.action), actor: text(&self.actor), subject: None, at })
    }
}

/// An entry.
#[derive(Debug, Serialize)]
pub struct View {
    seq: i64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    remote: String,
    details: Box<RawValue>,
}

impl From<AuditEntry> for View {
    fn from(e: AuditEntry) -> Self {
        // Somebody who writes into the database can leave anything there; the list must still be readable.
        let details = RawValue::from_string(e.details).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let at = e.at.rfc3339_micros();
        Self { seq: e.seq, at, actor: e.actor, action: e.action, subject: e.subject, remote: e.remote, details }
    }
}
