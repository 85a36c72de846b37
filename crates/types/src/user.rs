//! Users, their API tokens and sessions.

use crate::access::Role;
use crate::id::{ApiTokenId, UserId};
use crate::time::Timestamp;

/// A person or robot that can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// Unique login name.
    pub username: String,
    /// Argon2id PHC string.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
    /// Cannot log in, tokens are refused.
    pub disabled: bool,
    /// Raised to make every earlier access token invalid.
    pub token_version: i64,
    /// Last login.
    pub last_login_at: Option<Timestamp>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// An API token. Only the hash of its secret is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Row id.
    pub id: ApiTokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// A label for people.
    pub name: String,
    /// The visible part, 8 characters.
    pub prefix: String,
    /// Hex SHA-256 of the whole token.
    pub hash: String,
    /// Permission words; empty means all of the user's.
    pub scopes: Vec<String>,
    /// Refused from this instant on.
    pub expires_at: Option<Timestamp>,
    /// Last use, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Creation.
    pub inserted_at: Timestamp,
}

/// One link in a chain of refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// Hex SHA-256 of the token.
    pub hash: String,
    /// The chain it belongs to: one per login.
    pub session_id: crate::id::SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Set when it was exchanged; a second exchange revokes the chain.
    pub used_at: Option<Timestamp>,
    /// Set when the chain was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Refused from this instant on.
    pub expires_at: Timestamp,
    /// Creation.
    pub inserted_at: Timestamp,
}
