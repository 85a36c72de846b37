//! Users.

use reeve_domain::identity::user;
use reeve_types::user::User;
use reeve_types::{Error, Result, Role, Secret};
use serde::{Deserialize, Serialize};

use super::{shown, shown_if};

/// POST /api/users
#[derive(Debug, Deserialize)]
pub struct Create {
    username: String,
    password: Secret,
    role: String,
}

impl TryFrom<Create> for user::Create {
    type Error = Error;
    fn try_from(c: Create) -> Result<Self> {
        Ok(Self { username: c.username, password: c.password, role: role(&c.role)? })
    }
}

/// PATCH /api/users/{id}
#[derive(Debug, Deserialize)]
pub struct Update {
    username: Option<String>,
    password: Option<Secret>,
    role: Option<String>,
    disabled: Option<bool>,
}

impl TryFrom<Update> for user::Change {
    type Error = Error;
    fn try_from(u: Update) -> Result<Self> {
        let role = u.role.as_deref().map(role).transpose()?;
        Ok(Self { username: u.username, password: u.password, role, disabled: u.disabled })
    }
}

/// POST /api/users/{id}/password
#[derive(Debug, Deserialize)]
pub struct Password {
    /// The next one.
    pub password: Secret,
    /// The one until now, when it is one's own.
    pub current_password: Option<Secret>,
}

fn role(word: &str) -> Result<Role> {
    Role::parse(word).ok_or_else(|| Error::invalid("role", "is no role"))
}

/// A user.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    username: String,
    role: &'static str,
    disabled: bool,
    last_login_at: Option<String>,
    inserted_at: String,
    updated_at: String,
}

impl From<User> for View {
    fn from(u: User) -> Self {
        Self {
            id: u.id.0,
            username: u.username,
            role: u.role.word(),
            disabled: u.disabled,
            last_login_at: shown_if(u.last_login_at),
            inserted_at: shown(u.inserted_at),
            updated_at: shown(u.updated_at),
        }
    }
}
