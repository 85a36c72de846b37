//! From a bearer credential to an actor, in microseconds when it was seen within the last seconds.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reeve_store::{api_token as token_rows, refresh_token as session_rows, user as user_rows};
use reeve_types::access::{RequestContext, StaticKey};
use reeve_types::{Actor, ApiTokenId, Error, ErrorKind, Permission, Principal, Result, Timestamp};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::access_token::{self, Claims};
use super::{api_token, sha256};
use crate::config::StaticKeys;
use crate::{App, authz};

/// How long an answer is remembered. A change of rights voids it at once, also from another server.
const MEMORY_MS: i64 = 5_000;
/// Answers remembered at the most.
const MOST: usize = 10_000;

type Digest = [u8; 32];

/// Credentials that were good a moment ago, by their hash; the credentials themselves are not kept.
pub(crate) struct Cache {
    keys: Vec<(StaticKey, Digest)>,
    known: RwLock<HashMap<Digest, Arc<Known>>>,
    access: watch::Receiver<u64>,
}

struct Known {
    actor: Actor,
    token: Option<ApiTokenId>,
    until: Timestamp,
    change: u64,
}

impl Cache {
    pub(crate) fn new(keys: &StaticKeys, access: watch::Receiver<u64>) -> Self {
        let keys = [
            (StaticKey::Master, &keys.master),
            (StaticKey::Api, &keys.api),
            (StaticKey::Metrics, &keys.metrics),
            (StaticKey::Mcp, &keys.mcp),
            (StaticKey::Proxy, &keys.proxy),
        ];
        // An empty key would let everybody in.
        let keys = keys.into_iter().filter(|(_, secret)| !secret.expose().is_empty());
        let keys = keys.map(|(key, secret)| (key, sha256(secret.expose()))).collect();
        Self { keys, known: RwLock::default(), access }
    }

    /// How often rights have changed: what was read before a change is not good after it.
    fn change(&self) -> u64 {
        *self.access.borrow()
    }

    fn get(&self, digest: &Digest, now: Timestamp) -> Option<Arc<Known>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()?;
        (known.change == self.change() && now < known.until).then_some(known)
    }

    fn put(&self, digest: Digest, known: Arc<Known>, now: Timestamp) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            let change = self.change();
            all.retain(|_, k| k.change == change && now < k.until);
        }
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(digest, known);
    }

    /// The static key behind a digest. Every key is compared, whatever the outcome. Where one value serves several keys,
    /// the first names the principal and the rights add up.
    fn static_key(&self, digest: &Digest) -> Option<(StaticKey, BTreeSet<Permission>)> {
        let mut found: Option<(StaticKey, BTreeSet<Permission>)> = None;
        for (key, expected) in &self.keys {
            if bool::from(digest.ct_eq(expected)) {
                found.get_or_insert_with(|| (*key, BTreeSet::new())).1.extend(authz::of_key(*key));
            }
        }
        found
    }
}

/// The actor behind a bearer credential: an access token, an API token or a static key.
///
/// # Errors
/// Unauthenticated when it is none of them, has ended, or its user is disabled.
pub async fn authenticate(app: &App, bearer: &str, remote: &str) -> Result<Actor> {
    let cache = &app.identity.cache;
    let (digest, now) = (sha256(bearer), app.now());
    let known = match cache.get(&digest, now) {
        Some(known) => known,
        None => {
            // Read before the store is: a change in between voids the answer.
            let change = cache.change();
            let (actor, token, ends) = look_up(app, bearer, &digest, now).await?;
            let until = now.plus_ms(MEMORY_MS).min(ends.unwrap_or(Timestamp(i64::MAX)));
            let known = Arc::new(Known { actor, token, until, change });
            cache.put(digest, known.clone(), now);
            known
        }
    };
    if let Some(token) = &known.token {
        app.identity.uses.note(token, now);
    }
    let mut actor = known.actor.clone();
    actor.request = RequestContext { remote: remote.to_owned(), ..RequestContext::default() };
    Ok(actor)
}

type Answer = (Actor, Option<ApiTokenId>, Option<Timestamp>);

async fn look_up(app: &App, bearer: &str, digest: &Digest, now: Timestamp) -> Result<Answer> {
    if let Some((key, permissions)) = app.identity.cache.static_key(digest) {
        return Ok((actor(Principal::Key(key), permissions), None, None));
    }
    if bearer.starts_with(api_token::PREFIX) {
        return by_api_token(app, digest, now).await;
    }
    by_access_token(app, bearer).await
}

async fn by_api_token(app: &App, digest: &Digest, now: Timestamp) -> Result<Answer> {
    let found = token_rows::by_hash(&mut app.store.read().await?, &hex::encode(digest)).await?;
    let (token, user) = found.ok_or_else(unknown)?;
    if user.disabled || token.expires_at.is_some_and(|end| end <= now) {
        return Err(unknown());
    }
    let permissions = authz::of_token(user.role, &token.scopes);
    let principal = Principal::ApiToken { id: token.id.clone(), user: user.id, name: token.name };
    Ok((actor(principal, permissions), Some(token.id), token.expires_at))
}

async fn by_access_token(app: &App, bearer: &str) -> Result<Answer> {
    of_claims(app, access_token::read(app, bearer).ok_or_else(unknown)?).await
}

async fn of_claims(app: &App, claims: Claims) -> Result<Answer> {
    let mut tx = app.store.read().await?;
    let user = user_rows::get(&mut tx, &claims.sub).await?.ok_or_else(unknown)?;
    if user.disabled || user.token_version != claims.ver {
        return Err(unknown());
    }
    if !session_rows::session_is_open(&mut tx, &claims.sid).await? {
        return Err(unknown());
    }
    let permissions = authz::of_role(user.role);
    let ends = Timestamp(claims.exp.saturating_mul(1_000_000));
    Ok((actor(Principal::User { id: user.id, name: user.username }, permissions), None, Some(ends)))
}

/// Rights are looked at this often besides every time that some change.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Returns once nobody may do with `bearer` what needs `permission`: the user is gone, disabled, of another role or logged
/// out, the token deleted or past its end. For streams, which outlive the look at a request's beginning; that an access token
/// ends, as it does every few minutes, is no reason to break them off.
pub async fn revoked(app: Arc<App>, bearer: String, permission: Permission) {
    let mut changes = app.store.subscribe(reeve_store::Topic::Access);
    loop {
        match holds(&app, &bearer, permission).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "the rights behind a stream could not be looked at"),
        }
        // The sender lives as long as the store.
        tokio::time::timeout(LOOK_EVERY, changes.changed()).await.ok();
    }
}

async fn holds(app: &App, bearer: &str, permission: Permission) -> Result<bool> {
    let digest = sha256(bearer);
    if let Some((_, permissions)) = app.identity.cache.static_key(&digest) {
        return Ok(permissions.contains(&permission));
    }
    let found = match bearer.starts_with(api_token::PREFIX) {
        true => by_api_token(app, &digest, app.now()).await,
        false => match access_token::signed(app, bearer) {
            Some(claims) => of_claims(app, claims).await,
            None => return Ok(false),
        },
    };
    match found {
        Ok((actor, ..)) => Ok(actor.may(permission)),
        Err(error) if error.kind == ErrorKind::Unauthenticated => Ok(false),
        Err(error) => Err(error),
    }
}

fn actor(principal: Principal, permissions: BTreeSet<Permission>) -> Actor {
    Actor { principal, permissions: Arc::new(permissions), request: RequestContext::default() }
}

fn unknown() -> Error {
    Error::unauthenticated("Missing or invalid credentials")
}
