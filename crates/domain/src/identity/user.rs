//! Users: who can log in, and as what.

use reeve_store::{Tx, dialect, refresh_token, user as rows};
use reeve_types::user::User;
use reeve_types::{Actor, Error, Page, Paged, Permission, Principal, Result, Role, Secret, UserId};
use serde_json::json;

use super::{password, rights_changed, throttle};
use crate::{App, audit, authz};

/// What a new user is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// Unique; see [`check_username`].
    pub username: String,
    /// See [`password::check`].
    pub password: Secret,
    /// What it may do.
    pub role: Role,
}

/// What of a user changes; None is left alone.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Another name.
    pub username: Option<String>,
    /// Another password.
    pub password: Option<Secret>,
    /// Another role.
    pub role: Option<Role>,
    /// Whether it is kept from logging in.
    pub disabled: Option<bool>,
}

/// 2 to 64 characters: lower-case letters, digits, `.`, `_`, `-`, `@`, `+`, the first one a letter or a digit.
///
/// # Errors
/// Invalid, on the field `username`.
pub fn check_username(name: &str) -> Result<()> {
    if !(2..=64).contains(&name.len()) {
        return Err(Error::invalid("username", "must have 2 to 64 characters"));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !name.bytes().all(|b| plain(b) || b"._-@+".contains(&b)) || !name.bytes().next().is_some_and(plain) {
        let problem = "may hold lower-case letters, digits and . _ - @ +, and begins with a letter or a digit";
        return Err(Error::invalid("username", problem));
    }
    Ok(())
}

/// Creates a user.
///
/// # Errors
/// Invalid for a name or a password that breaks a rule; Conflict for a taken name; Forbidden for a role that may more
/// than the actor.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<User> {
    authz::require(actor, Permission::UsersWrite)?;
    check_username(&input.username)?;
    password::check(&input.username, &input.password)?;
    require_rights_of(actor, input.role)?;
    let password_hash = app.identity.passwords.hash(&*app.ids, &input.password).await?;
    let now = app.now();
    let user = User {
        id: UserId(app.ids.next()),
        username: input.username,
        password_hash,
        role: input.role,
        disabled: false,
        token_version: 0,
        last_login_at: None,
        inserted_at: now,
        updated_at: now,
    };
    let mut tx = app.begin(actor).await?;
    rows::insert(&mut tx, &user).await.map_err(name_taken)?;
    let details = json!({ "username": user.username, "role": user.role.word() });
    audit::record(app, &mut tx, actor, "user.create", user.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(user)
}

/// One page of users, by name.
///
/// # Errors
/// Forbidden without `users.read`.
pub async fn list(app: &App, actor: &Actor, page: Page) -> Result<Paged<User>> {
    authz::require(actor, Permission::UsersRead)?;
    rows::list(&mut app.store.read().await?, page).await
}

/// A user.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &UserId) -> Result<User> {
    authz::require(actor, Permission::UsersRead)?;
    rows::get(&mut app.store.read().await?, id).await?.ok_or_else(not_found)
}

/// Changes a user. A change of role, password or `disabled` ends its access tokens; the latter two end its sessions.
///
/// # Errors
/// As [`create`]; NotFound; Conflict when no enabled admin would be left.
pub async fn update(app: &App, actor: &Actor, id: &UserId, change: Change) -> Result<User> {
    authz::require(actor, Permission::UsersWrite)?;
    if let Some(name) = &change.username {
        check_username(name)?;
    }
    if let Some(role) = change.role {
        require_rights_of(actor, role)?;
    }
    let hash = match &change.password {
        None => None,
        Some(password) => {
            let name = match &change.username {
                Some(name) => name.clone(),
                None => get_for_check(app, id).await?.username,
            };
            password::check(&name, password)?;
            Some(app.identity.passwords.hash(&*app.ids, password).await?)
        }
    };
    let mut tx = app.begin(actor).await?;
    // Admins first, then the user: the same order for everybody.
    let admins = rows::lock_enabled_with(&mut tx, Role::Admin).await?;
    let before = rows::lock(&mut tx, id).await?.ok_or_else(not_found)?;
    require_rights_of(actor, before.role)?;
    let mut user = before.clone();
    user.username = change.username.unwrap_or(user.username);
    user.role = change.role.unwrap_or(user.role);
    user.disabled = change.disabled.unwrap_or(user.disabled);
    if user.role != Role::Admin || user.disabled {
        require_another_admin(&admins, id)?;
    }
    let new_password = hash.is_some();
    user.password_hash = hash.unwrap_or(user.password_hash);
    let details = json!({
        "username": user.username,
        "role": user.role.word(),
        "disabled": user.disabled,
        "password_changed": new_password,
    });
    let ended = new_password || (user.disabled && !before.disabled);
    let void_tokens = ended || user.role != before.role;
    write(app, &mut tx, &mut user, void_tokens, ended).await?;
    audit::record(app, &mut tx, actor, "user.update", id.as_str(), details).await?;
    tx.commit().await?;
    Ok(user)
}

/// Sets a password and ends all of the user's sessions. One's own needs the current password, unless one may change
/// users anyway.
///
/// # Errors
/// Invalid for a password that breaks a rule or a wrong current one; Forbidden for somebody else's; NotFound.
pub async fn set_password(app: &App, actor: &Actor, id: &UserId, current: Option<&Secret>, new: &Secret) -> Result<()> {
    let own = matches!(&actor.principal, Principal::User { id: me, .. } if me == id);
    authz::require(actor, if own { Permission::SelfManage } else { Permission::UsersWrite })?;
    let user = get_for_check(app, id).await?;
    password::check(&user.username, new)?;
    if !own {
        require_rights_of(actor, user.role)?;
    }
    if own && (current.is_some() || !actor.may(Permission::UsersWrite)) {
        require_current(app, actor, &user, current).await?;
    }
    let hash = app.identity.passwords.hash(&*app.ids, new).await?;
    let mut tx = app.begin(actor).await?;
    let mut user = rows::lock(&mut tx, id).await?.ok_or_else(not_found)?;
    user.password_hash = hash;
    write(app, &mut tx, &mut user, true, true).await?;
    audit::record(app, &mut tx, actor, "user.set_password", id.as_str(), json!({ "username": user.username })).await?;
    tx.commit().await
}

/// Removes a user with its tokens and sessions.
///
/// # Errors
/// NotFound; Conflict when no enabled admin would be left.
pub async fn delete(app: &App, actor: &Actor, id: &UserId) -> Result<()> {
    authz::require(actor, Permission::UsersWrite)?;
    let mut tx = app.begin(actor).await?;
    let admins = rows::lock_enabled_with(&mut tx, Role::Admin).await?;
    let user = rows::lock(&mut tx, id).await?.ok_or_else(not_found)?;
    require_rights_of(actor, user.role)?;
    require_another_admin(&admins, id)?;
    rows::delete(&mut tx, id).await?;
    rights_changed(&mut tx);
    audit::record(app, &mut tx, actor, "user.delete", id.as_str(), json!({ "username": user.username })).await?;
    tx.commit().await
}

async fn write(app: &App, tx: &mut Tx, user: &mut User, void_tokens: bool, end_sessions: bool) -> Result<()> {
    user.updated_at = app.now();
    user.token_version += i64::from(void_tokens);
    rows::update(tx, user).await.map_err(name_taken)?;
    if end_sessions {
        refresh_token::revoke_user(tx, &user.id, app.now()).await?;
    }
    rights_changed(tx);
    Ok(())
}

async fn require_current(app: &App, actor: &Actor, user: &User, current: Option<&Secret>) -> Result<()> {
    let Some(current) = current else { return Err(Error::invalid("current_password", "is missing")) };
    // A stolen access token must not become a way to guess the password.
    throttle::admit(app, &user.username, &actor.request.remote).await?;
    if !app.identity.passwords.verify(current, Some(user.password_hash.clone())).await? {
        return Err(Error::invalid("current_password", "is wrong"));
    }
    let mut tx = app.store.begin().await?;
    throttle::succeeded(app, &mut tx, &user.username, &actor.request.remote).await?;
    tx.commit().await
}

async fn get_for_check(app: &App, id: &UserId) -> Result<User> {
    rows::get(&mut app.store.read().await?, id).await?.ok_or_else(not_found)
}

/// Nobody hands out, or takes over, rights beyond their own: a token for user management alone is not an admin.
fn require_rights_of(actor: &Actor, role: Role) -> Result<()> {
    match authz::of_role(role).into_iter().find(|p| !actor.may(*p)) {
        None => Ok(()),
        Some(missing) => authz::require(actor, missing),
    }
}

fn require_another_admin(enabled_admins: &[UserId], except: &UserId) -> Result<()> {
    if enabled_admins.contains(except) && enabled_admins.len() == 1 {
        return Err(Error::conflict("the last admin cannot be removed, disabled or given another role")
            .with_reason("last_admin"));
    }
    Ok(())
}

fn name_taken(error: Error) -> Error {
    if dialect::is_unique_violation(&error, "users_username") {
        return Error::conflict("username has already been taken");
    }
    error
}

fn not_found() -> Error {
    Error::not_found("user")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in ["al", "alice", "alice.b-c_d", "alice@example.org", "0day", "a+ci@b.c", &"x".repeat(64)] {
            assert!(check_username(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "Alice", "-alice", ".a", "al ice", "älice", "a\0b", "a/b", &"x".repeat(65)] {
            assert!(check_username(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn somebody_stays_who_can_let_others_in() {
        let (a, b) = (UserId::from("a"), UserId::from("b"));
        assert!(require_another_admin(std::slice::from_ref(&a), &a).is_err());
        assert!(require_another_admin(std::slice::from_ref(&a), &b).is_ok());
        assert!(require_another_admin(&[a.clone(), b], &a).is_ok());
        assert!(require_another_admin(&[], &a).is_ok());
    }
}
