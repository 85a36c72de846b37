//! The first admin.

use reeve_store::user as rows;
use reeve_types::{Actor, ErrorKind, Result, Role, Secret};

use super::{fresh_secret, user};
use crate::App;

/// The first admin's name.
pub const FIRST_ADMIN: &str = "admin";

/// Creates the first admin, with `password` or a generated one, when there is no user at all. Gives the password it has
/// then; None when there were users. Of several servers that start at once, one creates it.
///
/// # Errors
/// Invalid for a given password that breaks a rule.
pub async fn first_admin(app: &App, password: Option<Secret>) -> Result<Option<Secret>> {
    if rows::count(&mut app.store.read().await?).await? > 0 {
        return Ok(None);
    }
    let password = password.unwrap_or_else(|| {
        let generated = fresh_secret(&*app.ids);
        Secret::new(generated.expose().chars().take(24).collect::<String>())
    });
    let input = user::Create { username: FIRST_ADMIN.to_owned(), password: password.clone(), role: Role::Admin };
    match user::create(app, &Actor::system(), input).await {
        Ok(_) => Ok(Some(password)),
        Err(error) if error.kind == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}
