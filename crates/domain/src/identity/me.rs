//! Who one is, seen from here.

use reeve_store::user as rows;
use reeve_types::{Actor, Permission, Principal, Result, Role};

use crate::{App, authz};

/// The actor, as shown to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The user's or token's id; a static key's word.
    pub id: String,
    /// `user`, `token` or `key`.
    pub kind: &'static str,
    /// The user's or token's name; a static key's word.
    pub name: String,
    /// The user's role; None for keys.
    pub role: Option<Role>,
    /// What it may do.
    pub permissions: Vec<Permission>,
}

/// Who the actor is. Needs credentials, but no permission.
///
/// # Errors
/// Unauthenticated for nobody.
pub async fn get(app: &App, actor: &Actor) -> Result<Me> {
    let (id, kind, name) = match &actor.principal {
        Principal::User { id, name } => (id.to_string(), "user", name.clone()),
        Principal::ApiToken { id, name, .. } => (id.to_string(), "token", name.clone()),
        Principal::Key(key) => (key.word().to_owned(), "key", key.word().to_owned()),
        Principal::System => ("system".to_owned(), "key", "system".to_owned()),
        Principal::Anonymous => {
            authz::require(actor, Permission::SelfManage)?;
            (String::new(), "key", String::new())
        }
    };
    let role = match actor.principal.user() {
        None => None,
        Some(user) => rows::get(&mut app.store.read().await?, user).await?.map(|user| user.role),
    };
    Ok(Me { id, kind, name, role, permissions: actor.permissions.iter().copied().collect() })
}
