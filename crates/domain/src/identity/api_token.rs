//! API tokens: `rv_<8 characters>_<secret>`, for scripts. A token has at most the rights of its user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use reeve_store::{api_token as rows, dialect};
use reeve_types::user::ApiToken;
use reeve_types::{Actor, ApiTokenId, Error, Page, Paged, Permission, Result, Secret, Timestamp, UserId};
use serde_json::json;

use super::{fresh_secret, rights_changed, sha256_hex};
use crate::{App, audit, authz};

/// First characters of every token.
pub const PREFIX: &str = "rv_";

/// What a new token is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// A label, unique among the user's.
    pub name: String,
    /// Permission words; none mean all of the user's.
    pub scopes: Vec<String>,
    /// When it ends; None for never.
    pub expires_at: Option<Timestamp>,
}

/// Creates a token of the actor's user. The secret is given once.
///
/// # Errors
/// Invalid for a scope that is no permission, a name that is empty or too long, an end that has passed or is after that of
/// the token which asks; Forbidden for a
/// scope the actor does not hold; Conflict for a taken name and for static keys, which have no user.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<(ApiToken, Secret)> {
    authz::require(actor, Permission::SelfManage)?;
    let user_id = own_user(actor)?.clone();
    let now = app.now();
    let name = input.name.trim();
    if !(1..=100).contains(&name.chars().count()) {
        return Err(Error::invalid("name", "must have 1 to 100 characters"));
    }
    if input.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "has passed already"));
    }
    let scopes = scopes(actor, input.scopes)?;
    let expires_at = no_later_than_its_maker(app, actor, input.expires_at).await?;
    let prefix = prefix(app);
    let secret = Secret::new(format!("{PREFIX}{prefix}_{}", fresh_secret(&*app.ids).expose()));
    let token = ApiToken {
        id: ApiTokenId(app.ids.next()),
        user_id,
        name: name.to_owned(),
        prefix,
        hash: sha256_hex(secret.expose()),
        scopes,
        expires_at,
        last_used_at: None,
        inserted_at: now,
    };
    let mut tx = app.begin(actor).await?;
    rows::insert(&mut tx, &token).await.map_err(name_taken)?;
    let details = json!({ "name": token.name, "prefix": token.prefix, "scopes": token.scopes });
    audit::record(app, &mut tx, actor, "token.create", token.id.as_str(), details).await?;
    tx.commit().await?;
    Ok((token, secret))
}

/// One page of the actor's tokens, the newest first. Who has no user and may see users sees everybody's.
///
/// # Errors
/// Forbidden without `self.manage`.
pub async fn list(app: &App, actor: &Actor, page: Page) -> Result<Paged<ApiToken>> {
    authz::require(actor, Permission::SelfManage)?;
    let user = actor.principal.user();
    if user.is_none() {
        authz::require(actor, Permission::UsersRead)?;
    }
    rows::list(&mut app.store.read().await?, user, page).await
}

/// Removes a token: one's own, or with `users.write` anybody's.
///
/// # Errors
/// NotFound, also for tokens one may not remove.
pub async fn delete(app: &App, actor: &Actor, id: &ApiTokenId) -> Result<()> {
    authz::require(actor, Permission::SelfManage)?;
    let mut tx = app.begin(actor).await?;
    let token = rows::get(&mut tx, id).await?.ok_or_else(not_found)?;
    if actor.principal.user() != Some(&token.user_id) && !actor.may(Permission::UsersWrite) {
        return Err(not_found());
    }
    rows::delete(&mut tx, id).await?;
    rights_changed(&mut tx);
    let details = json!({ "name": token.name, "prefix": token.prefix });
    audit::record(app, &mut tx, actor, "token.delete", id.as_str(), details).await?;
    tx.commit().await
}

/// When tokens were last used, until [`write_uses`] writes it down.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<ApiTokenId, Timestamp>>);

const MINUTE: i64 = 60_000_000;

impl Uses {
    /// Notes a use, to the minute.
    pub(crate) fn note(&self, token: &ApiTokenId, now: Timestamp) {
        let minute = Timestamp(now.0 - now.0.rem_euclid(MINUTE));
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(token) {
            Some(last) => *last = minute.max(*last),
            None => {
                uses.insert(token.clone(), minute);
            }
        }
    }
}

/// Writes down the uses since the last time, in one transaction.
///
/// # Errors
/// As the store; the uses are then kept for the next time.
pub(crate) async fn write_uses(app: &App) -> Result<()> {
    let uses = std::mem::take(&mut *app.identity.uses.0.lock().unwrap_or_else(PoisonError::into_inner));
    if uses.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut tx = app.store.begin().await?;
        let mut uses: Vec<_> = uses.iter().collect();
        // Servers that write at the same time take the rows in the same order.
        uses.sort();
        for (token, at) in uses {
            rows::used(&mut tx, token, *at).await?;
        }
        tx.commit().await
    }
    .await;
    if written.is_err() {
        uses.iter().for_each(|(token, at)| app.identity.uses.note(token, *at));
    }
    written
}

fn own_user(actor: &Actor) -> Result<&UserId> {
    let user = actor.principal.user();
    user.ok_or_else(|| Error::conflict("a static key has no user whose token this could be: log in as a user"))
}

/// The end of a new token. A token that ends does not outlive itself by making others.
async fn no_later_than_its_maker(app: &App, actor: &Actor, asked: Option<Timestamp>) -> Result<Option<Timestamp>> {
    let reeve_types::Principal::ApiToken { id, .. } = &actor.principal else { return Ok(asked) };
    let maker = rows::get(&mut app.store.read().await?, id).await?.ok_or_else(not_found)?;
    match (maker.expires_at, asked) {
        (Some(end), Some(asked)) if asked > end => {
            let problem = format!("must not be after the end of the token that asks, {}", end.rfc3339_secs());
            Err(Error::invalid("expires_at", problem))
        }
        (end, asked) => Ok(asked.or(end)),
    }
}

/// Scopes without repetition. Whoever asks can pass on what they hold and no more.
fn scopes(actor: &Actor, words: Vec<String>) -> Result<Vec<String>> {
    let mut scopes: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let permission = Permission::parse(&word);
        let permission = permission.ok_or_else(|| Error::invalid("scopes", format!("`{word}` is no permission")))?;
        authz::require(actor, permission)?;
        if !scopes.contains(&word) {
            scopes.push(word);
        }
    }
    // A token without scopes has its user's rights, which a narrower token must not give away.
    if scopes.is_empty() && matches!(actor.principal, reeve_types::Principal::ApiToken { .. }) {
        scopes = actor.permissions.iter().map(|p| p.word().to_owned()).collect();
    }
    Ok(scopes)
}

fn prefix(app: &App) -> String {
    let mut bytes = [0_u8; 4];
    app.ids.fill(&mut bytes);
    hex::encode(bytes)
}

fn name_taken(error: Error) -> Error {
    if dialect::is_unique_violation(&error, "api_tokens_user_id_name") {
        return Error::conflict("name has already been taken");
    }
    error
}

fn not_found() -> Error {
    Error::not_found("token")
}
