//! Users.

use reeve_domain::identity::user;
use reeve_http_kit::{Call, Reply};
use reeve_types::{Error, Result, Role, Secret, UserId};
use serde::Deserialize;

use crate::dto::UserView;
use crate::routes::State;

#[derive(Deserialize)]
struct Create {
    username: String,
    password: Secret,
    role: String,
}

#[derive(Deserialize)]
struct Update {
    username: Option<String>,
    password: Option<Secret>,
    role: Option<String>,
    disabled: Option<bool>,
}

#[derive(Deserialize)]
struct Password {
    current_password: Option<Secret>,
    password: Secret,
}

fn role(word: &str) -> Result<Role> {
    Role::parse(word).ok_or_else(|| Error::invalid("role", "is one of admin, operator, developer, viewer"))
}

fn id(call: &Call) -> UserId {
    UserId::from(call.param("id"))
}

/// GET /api/users
pub async fn list(state: State, call: Call) -> Result<Reply> {
    let found = user::list(&state.app, &call.actor, call.page()).await?;
    Reply::page(&found.map(UserView::from))
}

/// POST /api/users
pub async fn create(state: State, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let input = user::Create { username: input.username, password: input.password, role: role(&input.role)? };
    let made = user::create(&state.app, &call.actor, input).await?;
    Reply::created(&format!("/api/users/{}", made.id), &UserView::from(made))
}

/// GET /api/users/{id}
pub async fn get(state: State, call: Call) -> Result<Reply> {
    Reply::ok(&UserView::from(user::get(&state.app, &call.actor, &id(&call)).await?))
}

/// PATCH /api/users/{id}
pub async fn update(state: State, mut call: Call) -> Result<Reply> {
    let input: Update = call.body()?;
    let role = input.role.as_deref().map(role).transpose()?;
    let change = user::Change { username: input.username, password: input.password, role, disabled: input.disabled };
    Reply::ok(&UserView::from(user::update(&state.app, &call.actor, &id(&call), change).await?))
}

/// DELETE /api/users/{id}
pub async fn delete(state: State, call: Call) -> Result<Reply> {
    user::delete(&state.app, &call.actor, &id(&call)).await?;
    Ok(Reply::no_content())
}

/// POST /api/users/{id}/password
pub async fn set_password(state: State, mut call: Call) -> Result<Reply> {
    let input: Password = call.body()?;
    let (current, new) = (input.current_password.as_ref(), &input.password);
    user::set_password(&state.app, &call.actor, &id(&call), current, new).await?;
    Ok(Reply::no_content())
}
