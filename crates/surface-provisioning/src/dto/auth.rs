//! Sessions, and who is asking.

use reeve_domain::identity::me::Me;
use reeve_domain::identity::session::Tokens;
use reeve_types::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// POST /v1/auth/login
#[derive(Debug, Deserialize)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// POST /v1/auth/refresh and logout
#[derive(Debug, Deserialize)]
pub struct Refresh {
    /// The token.
    pub refresh_token: Secret,
}

/// A session's tokens.
#[derive(Serialize)]
pub struct TokensView {
    token: String,
    refresh_token: String,
    expires_in: i64,
}

impl TokensView {
    /// As seen at `now`.
    pub fn of(tokens: Tokens, now: Timestamp) -> Self {
        Self {
            token: tokens.access_token.expose().to_owned(),
            refresh_token: tokens.refresh_token.expose().to_owned(),
            // Ends are whole seconds; the fraction of the present one is not taken off.
            expires_in: tokens.access_expires_at.as_secs() - now.as_secs(),
        }
    }
}

/// The answer to a logout.
#[derive(Serialize)]
pub struct LoggedOut {
    /// Always true.
    pub logged_out: bool,
}

/// Who is asking.
#[derive(Serialize)]
pub struct MeView {
    id: String,
    kind: &'static str,
    username: String,
    role: Option<&'static str>,
    permissions: Vec<&'static str>,
}

impl From<Me> for MeView {
    fn from(me: Me) -> Self {
        let own = |word: &'static str| word.strip_prefix("provisioning.").unwrap_or(word);
        let permissions = me.permissions.into_iter().map(|p| own(p.word())).collect();
        Self { id: me.id, kind: me.kind, username: me.name, role: me.role.map(|role| role.word()), permissions }
    }
}
