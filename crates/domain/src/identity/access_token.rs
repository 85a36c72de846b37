//! Access tokens: JWTs signed with HS256 under a key derived from the sealing key that their header names.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use reeve_types::user::User;
use reeve_types::{Error, Result, Secret, SessionId, Timestamp, UserId};

use crate::App;

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Claims {
    /// The user.
    pub(crate) sub: UserId,
    /// The role at the time; rights are those of the user at use.
    pub(crate) role: String,
    /// The user's token version at the time.
    pub(crate) ver: i64,
    /// Seconds since the epoch.
    pub(crate) exp: i64,
    /// Seconds since the epoch.
    pub(crate) iat: i64,
    /// Unique.
    pub(crate) jti: String,
    /// The session; once it is revoked, the token is refused.
    pub(crate) sid: SessionId,
}

/// A fresh token, how many seconds it is good for, and when it ends.
pub(crate) fn issue(app: &App, user: &User, session: &SessionId) -> Result<(Secret, i64, Timestamp)> {
    let now = app.now();
    let life_secs = i64::try_from(app.config.access_token_life.as_secs()).unwrap_or(i64::MAX);
    let exp = now.as_secs().saturating_add(life_secs);
    let claims = Claims {
        sub: user.id.clone(),
        role: user.role.word().to_owned(),
        ver: user.token_version,
        exp,
        iat: now.as_secs(),
        jti: app.ids.next(),
        sid: session.clone(),
    };
    let (key_id, key) = app.seal.derive_newest("jwt");
    let header = Header { kid: Some(key_id), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(&*key);
    let token = jsonwebtoken::encode(&header, &claims, &key).map_err(Error::internal)?;
    Ok((Secret::new(token), life_secs, Timestamp(exp.saturating_mul(1_000_000))))
}

/// What a token says, if it is ours and not past its end.
pub(crate) fn read(app: &App, token: &str) -> Option<Claims> {
    signed(app, token).filter(|claims| claims.exp > app.now().as_secs())
}

/// What a token says, if it is ours.
pub(crate) fn signed(app: &App, token: &str) -> Option<Claims> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let key = app.seal.derive_from(&header.kid?, "jwt")?;
    let mut rules = Validation::new(Algorithm::HS256);
    // The library would look at the machine's clock; the end is checked with ours.
    rules.validate_exp = false;
    rules.validate_aud = false;
    Some(jsonwebtoken::decode(token, &DecodingKey::from_secret(&*key), &rules).ok()?.claims)
}
