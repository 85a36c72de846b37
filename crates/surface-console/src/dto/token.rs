//! API tokens.

use reeve_domain::identity::api_token;
use reeve_types::user::ApiToken;
use reeve_types::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{shown, shown_if};

/// POST /api/tokens
#[derive(Debug, Deserialize)]
pub struct Create {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<String>,
}

impl TryFrom<Create> for api_token::Create {
    type Error = Error;
    fn try_from(c: Create) -> Result<Self> {
        let instant = |text: String| {
            Timestamp::parse(&text).ok_or_else(|| Error::invalid("expires_at", "is not an RFC 3339 instant"))
        };
        Ok(Self { name: c.name, scopes: c.scopes, expires_at: c.expires_at.map(instant).transpose()? })
    }
}

/// A token, without its secret.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    user_id: String,
    name: String,
    prefix: String,
    scopes: Vec<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    inserted_at: String,
}

impl From<ApiToken> for View {
    fn from(t: ApiToken) -> Self {
        Self {
            id: t.id.0,
            user_id: t.user_id.0,
            name: t.name,
            prefix: t.prefix,
            scopes: t.scopes,
            expires_at: shown_if(t.expires_at),
            last_used_at: shown_if(t.last_used_at),
            inserted_at: shown(t.inserted_at),
        }
    }
}

/// A token with its secret, shown once.
#[derive(Serialize)]
pub struct NewView {
    /// The token.
    #[serde(flatten)]
    pub view: View,
    /// The bearer credential.
    pub token: String,
}
