//! Sessions, and who is asking.

use reeve_domain::identity::me::Me;
use reeve_domain::identity::session::Tokens;
use reeve_types::Secret;
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

impl From<Tokens> for TokensView {
    fn from(tokens: Tokens) -> Self {
        Self {
            token: tokens.access_token.expose().to_owned(),
            refresh_token: tokens.refresh_token.expose().to_owned(),
            // The life, not what is left of it: the second may have turned since the token was made.
            expires_in: tokens.access_life_secs,
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

#[cfg(test)]
mod tests {
    use reeve_types::user::User;
    use reeve_types::{Role, Timestamp, UserId};

    use super::*;

    #[test]
    fn a_token_is_good_for_its_whole_life_also_when_the_second_turns() {
        let at = Timestamp(0);
        let user = User {
            id: UserId::from("u"),
            username: "admin".into(),
            password_hash: String::new(),
            role: Role::Admin,
            disabled: false,
            token_version: 0,
            last_login_at: None,
            inserted_at: at,
            updated_at: at,
        };
        let tokens = Tokens {
            access_token: Secret::new("a"),
            access_life_secs: 86_400,
            access_expires_at: at.plus_ms(86_400_000),
            refresh_token: Secret::new("r"),
            refresh_expires_at: at,
            user,
        };
        let view = serde_json::to_string(&TokensView::from(tokens)).unwrap();
        assert_eq!(view, r#"{"token":"a","refresh_token":"r","expires_in":86400}"#);
    }
}
