//! What goes over the wire, a module per noun.

pub mod audit;
pub mod auth;
pub mod credential;
pub mod operation;
pub mod plan;
pub mod provider;
pub mod server;
pub mod taskserv;
pub mod workflow;
pub mod workspace;

use reeve_types::{Error, Range, Result, Timestamp};
use serde_json::value::RawValue;

/// An instant as shown: whole seconds, `Z`.
fn shown(at: Timestamp) -> String {
    at.rfc3339_secs()
}

/// An instant as shown, or null.
fn shown_if(at: Option<Timestamp>) -> Option<String> {
    at.map(shown)
}

/// A stored JSON document as it is; null for one that is none, so that a list stays readable.
fn document(text: Option<String>) -> Option<Box<RawValue>> {
    text.and_then(|text| RawValue::from_string(text).ok())
}

/// `created_after` and `created_before`.
fn period(after: Option<&str>, before: Option<&str>) -> Result<Range<Timestamp>> {
    let instant = |field, text: Option<&str>, end_of_day| {
        let Some(text) = text else { return Ok(None) };
        let at = Timestamp::parse_or_date(text, end_of_day);
        at.map(Some).ok_or_else(|| Error::invalid(field, "is not an RFC 3339 instant or a day such as 2026-01-31"))
    };
    Ok(Range { gte: instant("created_after", after, false)?, lte: instant("created_before", before, true)? })
}
