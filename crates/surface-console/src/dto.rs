//! What the console's answers look like.

use reeve_types::audit::AuditEntry;
use reeve_types::user::{ApiToken, User};
use reeve_types::{Secret, Timestamp};
use serde::Serialize;
use serde_json::Value;

/// A user, without anything secret.
#[derive(Serialize)]
pub struct UserView {
    id: String,
    username: String,
    role: &'static str,
    disabled: bool,
    last_login_at: Option<String>,
    inserted_at: String,
    updated_at: String,
}

impl From<User> for UserView {
    fn from(u: User) -> Self {
        Self {
            id: u.id.0,
            username: u.username,
            role: u.role.word(),
            disabled: u.disabled,
            last_login_at: u.last_login_at.map(Timestamp::rfc3339_secs),
            inserted_at: u.inserted_at.rfc3339_secs(),
            updated_at: u.updated_at.rfc3339_secs(),
        }
    }
}

/// An API token; `token` is there in the answer to its creation only.
#[derive(Serialize)]
pub struct TokenView {
    id: String,
    name: String,
    prefix: String,
    scopes: Vec<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    inserted_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenView {
    /// With the secret, once.
    pub fn new(t: ApiToken, secret: Option<&Secret>) -> Self {
        Self {
            id: t.id.0,
            name: t.name,
            prefix: t.prefix,
            scopes: t.scopes,
            expires_at: t.expires_at.map(Timestamp::rfc3339_secs),
            last_used_at: t.last_used_at.map(Timestamp::rfc3339_secs),
            inserted_at: t.inserted_at.rfc3339_secs(),
            token: secret.map(|s| s.expose().to_owned()),
        }
    }
}

/// An audit entry.
#[derive(Serialize)]
pub struct AuditView {
    seq: i64,
    id: String,
    at: String,
    actor: String,
    remote: String,
    request_id: String,
    action: String,
    subject: String,
    details: Value,
}

impl From<AuditEntry> for AuditView {
    fn from(e: AuditEntry) -> Self {
        Self {
            seq: e.seq,
            id: e.id,
            at: e.at.rfc3339_micros(),
            actor: e.actor,
            remote: e.remote,
            request_id: e.request_id,
            action: e.action,
            subject: e.subject,
            details: serde_json::from_str(&e.details).unwrap_or(Value::Null),
        }
    }
}
