//! `reeve token`: API tokens for programs.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::segment;
use crate::Session;
use crate::failure::{Failure, OK, Outcome};
use crate::human::parse_duration;
use crate::view::{View, age, column, text};

/// API tokens.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Create a token and print it: it is shown this once
    Create {
        /// What it is for
        name: String,
        /// A permission it has, e.g. edge.nodes.read; repeatable. All of yours when absent
        #[arg(long = "scope", value_name = "PERMISSION", value_delimiter = ',')]
        scopes: Vec<String>,
        /// How long it is good for, e.g. 90d
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expire_in: Option<Duration>,
    },
    /// List tokens
    #[command(visible_alias = "ls")]
    List,
    /// Delete tokens
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        tokens: Vec<String>,
    },
}

static VIEW: View = View {
    plural: "tokens",
    columns: &[
        column("NAME", 9, 6, |token, _| text(token, "name")),
        column("PREFIX", 7, 8, |token, _| text(token, "prefix")),
        column("SCOPES", 4, 8, |token, _| text(token, "scopes")),
        column("EXPIRES", 6, 6, |token, now| age(token, "expires_at", now)),
        column("LAST USED", 5, 6, |token, now| age(token, "last_used_at", now)),
        column("AGE", 3, 3, |token, now| age(token, "inserted_at", now)),
        column("ID", 2, 9, |token, _| text(token, "id")),
    ],
    name: |token| text(token, "id"),
};

/// Runs `reeve token`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::Create { name, scopes, expire_in } => {
            let expires_at = expire_in.map(|length| session.in_future(length)).transpose()?;
            let mut body = json!({ "name": name, "expires_at": expires_at });
            if let (Some(map), false) = (body.as_object_mut(), scopes.is_empty()) {
                map.insert("scopes".to_owned(), scopes.into());
            }
            let token = api.post("/api/tokens", &body).await?;
            if !session.format().is_table() {
                return session.show(&VIEW, &token);
            }
            session.world.out.note("keep this token, it is not shown again:")?;
            session.world.out.line(&text(&token, "token"))?;
            Ok(OK)
        }
        Verb::List => {
            let listing = api.list_plain("/api/tokens").await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Delete { tokens } => {
            let listing = api.list_plain("/api/tokens").await?;
            for token in tokens {
                let mut found =
                    listing.rows.iter().filter(|row| text(row, "id") == token || text(row, "name") == token);
                let id = match (found.next(), found.next()) {
                    (Some(row), None) => text(row, "id"),
                    (Some(_), Some(_)) => {
                        return Err(Failure::local_with(format!("several tokens are called '{token}'"), "give the id"));
                    }
                    (None, _) => {
                        return Err(Failure::local_with(
                            format!("no token is called '{token}'"),
                            "`reeve token list` shows which there are",
                        ));
                    }
                };
                api.delete(&format!("/api/tokens/{}", segment(&id))).await?;
                session.said(&id, &format!("token {token} deleted"))?;
            }
            Ok(OK)
        }
    }
}
