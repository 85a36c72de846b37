//! Logins: a password for a pair of tokens, a refresh token for the next pair, and the end of it.
//!
//! Refresh tokens rotate. A second use of one means that two hold it, and nobody knows which is the thief: the whole
//! session is revoked, access tokens included. The only exception are two uses shortly after each other, the race of one
//! client with itself: the session stays. See [`refresh_served`].

use reeve_store::{Tx, refresh_token as rows, user as user_rows};
use reeve_types::user::{RefreshToken, User};
use reeve_types::{Actor, Error, Principal, Result, Secret, SessionId, Timestamp, UserId};
use serde_json::json;

use super::{access_token, fresh_secret, rights_changed, sha256_hex, throttle};
use crate::{App, audit};

/// A refresh token's first characters, to know one when it turns up somewhere.
const PREFIX: &str = "rvr_";
/// Two uses within this time are a race, not a theft.
const RACE_MS: i64 = 1_000;

/// A session's tokens. They are shown once and not stored.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// A JWT, the bearer credential of requests.
    pub access_token: Secret,
    /// How many seconds it is good for from when it was made, whatever has passed since.
    pub access_life_secs: i64,
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// Good for one exchange.
    pub refresh_token: Secret,
    /// When it ends.
    pub refresh_expires_at: Timestamp,
    /// Whose they are.
    pub user: User,
}

/// Begins a session. `actor` is nobody; its request says from where.
///
/// # Errors
/// Unauthenticated for an unknown name, a wrong password and a disabled user alike, after the same time; TooMany after
/// too many of them.
pub async fn login(app: &App, actor: &Actor, username: &str, password: &Secret) -> Result<Tokens> {
    let (name, address) = (username.trim().to_lowercase(), &actor.request.remote);
    throttle::admit(app, &name, address).await?;
    let found = user_rows::by_name(&mut app.store.read().await?, &name).await?;
    let hash = found.as_ref().map(|user| user.password_hash.clone());
    let right = app.identity.passwords.verify(password, hash).await?;
    let id = found.as_ref().map(|user| user.id.clone());
    let Some(user) = found.filter(|user| right && !user.disabled) else {
        return Err(failed(app, actor, id).await?);
    };
    let now = app.now();
    let mut tx = app.store.begin().await?;
    // The password may have been changed, or the user disabled, while the hash was computed.
    let current = user_rows::lock(&mut tx, &user.id).await?;
    if current.is_none_or(|c| c.disabled || c.token_version != user.token_version) {
        drop(tx);
        return Err(failed(app, actor, id).await?);
    }
    throttle::succeeded(app, &mut tx, &name, address).await?;
    user_rows::logged_in(&mut tx, &user.id, now).await?;
    let user = User { last_login_at: Some(now), ..user };
    let session = SessionId(app.ids.next());
    let tokens = issue(app, &mut tx, user, &session).await?;
    let details = json!({ "session": session.as_str() });
    audit::record(app, &mut tx, &as_user(actor, &tokens.user), "session.login", tokens.user.id.as_str(), details)
        .await?;
    tx.commit().await?;
    Ok(tokens)
}

/// Leaves a trace of a failed login. A name nobody has is not written down: it may be a password.
async fn failed(app: &App, actor: &Actor, id: Option<UserId>) -> Result<Error> {
    let mut tx = app.store.begin().await?;
    let subject = id.as_ref().map_or("", UserId::as_str);
    audit::record(app, &mut tx, actor, "session.login_failed", subject, json!({})).await?;
    tx.commit().await?;
    Ok(Error::unauthenticated("the username or the password is wrong"))
}

/// Exchanges a refresh token for the session's next pair of tokens.
///
/// # Errors
/// Unauthenticated for a token that is unknown, used, revoked or past its end, or whose user is disabled.
pub async fn refresh(app: &App, actor: &Actor, token: &Secret) -> Result<Tokens> {
    exchange(app, actor, token, RACE_MS, false).await
}

/// As [`refresh`], for clients that refresh from several processes at once: a second use within `within_ms` of the first is
/// served too.
///
/// # Errors
/// As [`refresh`].
pub async fn refresh_served(app: &App, actor: &Actor, token: &Secret, within_ms: i64) -> Result<Tokens> {
    exchange(app, actor, token, within_ms, true).await
}

async fn exchange(app: &App, actor: &Actor, token: &Secret, race_ms: i64, served: bool) -> Result<Tokens> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let row = rows::lock(&mut tx, &sha256_hex(token.expose())).await?.ok_or_else(refused)?;
    if let Some(used_at) = row.used_at {
        let raced = now.ms_since(used_at) < race_ms;
        if row.revoked_at.is_none() && !raced {
            revoke(app, tx, actor, &row, "session.reuse").await?;
            return Err(refused());
        }
        if !(raced && served) {
            return Err(refused());
        }
    }
    if row.revoked_at.is_some() || row.expires_at <= now {
        return Err(refused());
    }
    let user = user_rows::get(&mut tx, &row.user_id).await?.filter(|user| !user.disabled).ok_or_else(refused)?;
    rows::used(&mut tx, &row.hash, now).await?;
    let tokens = issue(app, &mut tx, user, &row.session_id).await?;
    let details = json!({ "session": row.session_id.as_str() });
    let who = as_user(actor, &tokens.user);
    audit::record(app, &mut tx, &who, "session.refresh", tokens.user.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// Ends the session a refresh token belongs to; its access tokens end with it. An unknown token is no error: the session
/// is over either way.
///
/// # Errors
/// As the store.
pub async fn logout(app: &App, actor: &Actor, token: &Secret) -> Result<()> {
    let mut tx = app.store.begin().await?;
    match rows::lock(&mut tx, &sha256_hex(token.expose())).await? {
        Some(row) if row.revoked_at.is_none() => revoke(app, tx, actor, &row, "session.logout").await,
        _ => Ok(()),
    }
}

async fn revoke(app: &App, mut tx: Tx, actor: &Actor, row: &RefreshToken, action: &str) -> Result<()> {
    rows::revoke_session(&mut tx, &row.session_id, app.now()).await?;
    let who = match user_rows::get(&mut tx, &row.user_id).await? {
        Some(user) => as_user(actor, &user),
        None => actor.clone(),
    };
    rights_changed(&mut tx);
    let details = json!({ "session": row.session_id.as_str() });
    audit::record(app, &mut tx, &who, action, row.user_id.as_str(), details).await?;
    tx.commit().await
}

async fn issue(app: &App, tx: &mut Tx, user: User, session: &SessionId) -> Result<Tokens> {
    let now = app.now();
    let (access_token, access_life_secs, access_expires_at) = access_token::issue(app, &user, session)?;
    let refresh_token = Secret::new(format!("{PREFIX}{}", fresh_secret(&*app.ids).expose()));
    let life_ms = i64::try_from(app.config.refresh_token_life.as_millis()).unwrap_or(i64::MAX);
    let refresh_expires_at = now.plus_ms(life_ms);
    let row = RefreshToken {
        hash: sha256_hex(refresh_token.expose()),
        session_id: session.clone(),
        user_id: user.id.clone(),
        used_at: None,
        revoked_at: None,
        expires_at: refresh_expires_at,
        inserted_at: now,
    };
    rows::insert(tx, &row).await?;
    Ok(Tokens { access_token, access_life_secs, access_expires_at, refresh_token, refresh_expires_at, user })
}

fn as_user(actor: &Actor, user: &User) -> Actor {
    let principal = Principal::User { id: user.id.clone(), name: user.username.clone() };
    Actor { principal, ..actor.clone() }
}

fn refused() -> Error {
    Error::unauthenticated("the refresh token is not good any more: log in again")
}
