//! `reeve user`: the people who may use the server.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::segment;
use crate::Session;
use crate::api::{Api, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::view::{View, age, column, state_style, text};

/// Users.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List users
    #[command(visible_alias = "ls")]
    List,
    /// Show one user
    #[command(visible_alias = "get")]
    Show {
        /// Name or id
        user: String,
    },
    /// Create a user; the password is asked for
    Create {
        /// The name to log in with
        username: String,
        /// What the user may do
        #[arg(long, value_parser = ROLES, default_value = "viewer")]
        role: String,
        /// The password; asked for (or read from standard input) when absent
        #[arg(long)]
        password: Option<String>,
    },
    /// Change a user's role, or lock a user out
    Update {
        /// Name or id
        user: String,
        /// What the user may do
        #[arg(long, value_parser = ROLES)]
        role: Option<String>,
        /// Refuse the user's logins
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Accept the user's logins again
        #[arg(long)]
        enable: bool,
    },
    /// Set a user's password; it is asked for
    Password {
        /// Name or id
        user: String,
        /// The password; asked for (or read from standard input) when absent
        #[arg(long)]
        password: Option<String>,
    },
    /// Delete users
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        users: Vec<String>,
    },
}

const ROLES: [&str; 4] = ["admin", "operator", "developer", "viewer"];

static VIEW: View = View {
    plural: "users",
    columns: &[
        column("NAME", 9, 6, |user, _| text(user, "username")),
        column("ROLE", 8, 5, |user, _| text(user, "role")),
        column("STATE", 7, 6, |user, _| state(user).to_owned()).coloured(state_style),
        column("AGE", 5, 3, |user, now| age(user, "inserted_at", now)),
        column("LAST LOGIN", 4, 6, |user, now| age(user, "last_login_at", now)),
        column("ID", 3, 9, |user, _| text(user, "id")),
    ],
    name: |user| text(user, "username"),
};

fn state(user: &Value) -> &'static str {
    if user.get("disabled").and_then(Value::as_bool).unwrap_or(false) { "disabled" } else { "ok" }
}

/// Runs `reeve user`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List => {
            let listing = api.list_plain("/api/users").await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { user } => {
            let path = path(&api, &user).await?;
            let user = api.get(&path, &Query::new()).await?;
            session.show(&VIEW, &user)
        }
        Verb::Create { username, role, password } => {
            let password = secret(session, password)?;
            let user =
                api.post("/api/users", &json!({ "username": username, "role": role, "password": password })).await?;
            session.done(&VIEW, &user, &format!("user {username} created with the role {role}"))
        }
        Verb::Update { user, role, disable, enable } => {
            let mut body = Map::new();
            body.extend(role.map(|role| ("role".to_owned(), role.into())));
            if disable || enable {
                body.insert("disabled".to_owned(), disable.into());
            }
            if body.is_empty() {
                return Err(Failure::usage("nothing to change", "give --role, --disable or --enable"));
            }
            let changed = api.patch(&path(&api, &user).await?, &Value::Object(body)).await?;
            let words = format!("user {user}: role {}, {}", text(&changed, "role"), state(&changed));
            session.done(&VIEW, &changed, &words)
        }
        Verb::Password { user, password } => {
            let path = path(&api, &user).await?;
            let password = secret(session, password)?;
            api.post(&format!("{path}/password"), &json!({ "password": password })).await?;
            session.said(&user, &format!("the password of {user} is changed"))
        }
        Verb::Delete { users } => {
            for user in users {
                api.delete(&path(&api, &user).await?).await?;
                session.said(&user, &format!("user {user} deleted"))?;
            }
            Ok(OK)
        }
    }
}

/// The path of the user with this name or id.
async fn path(api: &Api, user: &str) -> Outcome<String> {
    let listing = api.list_plain("/api/users").await?;
    let found = listing.rows.iter().find(|row| text(row, "username") == user || text(row, "id") == user);
    match found {
        Some(row) => Ok(format!("/api/users/{}", segment(&text(row, "id")))),
        None => {
            Err(Failure::local_with(format!("no user is called '{user}'"), "`reeve user list` shows which there are"))
        }
    }
}

fn secret(session: &mut Session<'_>, given: Option<String>) -> Outcome<String> {
    match given {
        Some(password) => Ok(password),
        None => session.world.ask("New password", true),
    }
}
