//! Audit entries: who changed what, when and from where.

use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Position in the chain, from 1 without gaps.
    pub seq: i64,
    /// UUIDv7.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// [`Principal::label`](crate::Principal::label) of who did it.
    pub actor: String,
    /// The peer's address, empty when there was none.
    pub remote: String,
    /// The request that did it, empty when there was none.
    pub request_id: String,
    /// What was done, as `node.delete`.
    pub action: String,
    /// To what: an id or a name.
    pub subject: String,
    /// JSON text, without secrets.
    pub details: String,
    /// `<key id>.<hex HMAC-SHA256>` over this entry and the mac before it.
    pub mac: String,
}

/// Which entries a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// On the action.
    pub action: Option<TextMatch>,
    /// On the actor.
    pub actor: Option<TextMatch>,
    /// On the subject.
    pub subject: Option<TextMatch>,
    /// On the instant.
    pub at: Range<Timestamp>,
}
