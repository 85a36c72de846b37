//! Users.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::identity::user;
use reeve_http_kit::{Call, Reply};
use reeve_types::{Result, UserId};

use crate::dto::user::{Create, Password, Update, View};

fn id(call: &Call) -> UserId {
    UserId::from(call.param("id"))
}

/// GET /api/users
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::page(&user::list(&app, &call.actor, call.page()).await?.map(View::from))
}

/// POST /api/users
pub async fn create(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Create = call.body()?;
    let made = user::create(&app, &call.actor, input.try_into()?).await?;
    Reply::created(&format!("/api/users/{}", made.id), &View::from(made))
}

/// GET /api/users/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(user::get(&app, &call.actor, &id(&call)).await?))
}

/// PATCH /api/users/{id}
pub async fn update(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Update = call.body()?;
    let changed = user::update(&app, &call.actor, &id(&call), input.try_into()?).await?;
    Reply::ok(&View::from(changed))
}

/// DELETE /api/users/{id}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    user::delete(&app, &call.actor, &id(&call)).await?;
    Ok(Reply::no_content())
}

/// POST /api/users/{id}/password
pub async fn set_password(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let input: Password = call.body()?;
    let current = input.current_password.as_ref();
    user::set_password(&app, &call.actor, &id(&call), current, &input.password).await?;
    Ok(Reply::no_content())
}
