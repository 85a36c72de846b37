//! Sessions, and who is asking.

use reeve_domain::identity::me::Me;
use reeve_domain::identity::session::Tokens;
use reeve_types::Secret;
use serde::{Deserialize, Serialize};

use super::{shown, user};

/// POST /api/auth/login
#[derive(Debug, Deserialize)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// POST /api/auth/refresh and logout
#[derive(Debug, Deserialize)]
pub struct Refresh {
    /// The token.
    pub refresh_token: Secret,
}

/// A session's tokens.
#[derive(Serialize)]
pub struct SessionView {
    access_token: String,
    access_expires_at: String,
    refresh_token: String,
    refresh_expires_at: String,
    user: user::View,
}

impl From<Tokens> for SessionView {
    fn from(t: Tokens) -> Self {
        Self {
            access_token: t.access_token.expose().to_owned(),
            access_expires_at: shown(t.access_expires_at),
            refresh_token: t.refresh_token.expose().to_owned(),
            refresh_expires_at: shown(t.refresh_expires_at),
            user: t.user.into(),
        }
    }
}

/// Who is asking.
#[derive(Debug, Serialize)]
pub struct MeView {
    id: String,
    kind: &'static str,
    name: String,
    role: Option<&'static str>,
    permissions: Vec<&'static str>,
}

impl From<Me> for MeView {
    fn from(m: Me) -> Self {
        let permissions = m.permissions.into_iter().map(|p| p.word()).collect();
        Self { id: m.id, kind: m.kind, name: m.name, role: m.role.map(|r| r.word()), permissions }
    }
}
