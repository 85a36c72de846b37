//! `reeve member`: the Reeve server that answers, and the others on its store. (`reeve server` is about rented machines.)

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Session;
use crate::api::Query;
use crate::failure::Outcome;
use crate::view::{View, age, column, text};

/// About the server, and the others on its store.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Show the server that answers
    #[command(visible_alias = "get")]
    Show,
    /// List the servers on its store: members, and those that are gone and not forgotten yet
    #[command(visible_alias = "ls")]
    List,
}

static MEMBER: View = View {
    plural: "servers",
    columns: &[
        column("VERSION", 9, 3, |server, _| text(server, "version")),
        column("ID", 8, 3, |server, _| text(server, "id")),
        column("LISTENERS", 7, 3, |server, _| listeners(server)),
        column("AGENT ENDPOINT", 7, 3, |server, _| text(server, "agent_endpoint")),
        column("AGENTS CONNECTED", 7, 3, |server, _| text(server, "agents_connected")),
    ],
    name: |server| text(server, "id"),
};

static MEMBERS: View = View {
    plural: "servers",
    columns: &[
        column("NAME", 9, 6, |server, _| text(server, "name")),
        column("STATE", 8, 6, |server, _| text(server, "state")),
        column("HERE", 7, 3, |server, _| text(server, "here")),
        column("AGENTS", 7, 4, |server, _| text(server, "agents_connected")),
        column("SEEN", 6, 4, |server, now| age(server, "last_seen_at", now)),
        column("AGE", 5, 3, |server, now| age(server, "started_at", now)),
        column("VERSION", 4, 5, |server, _| text(server, "version")),
        column("CLOCK AHEAD MS", 2, 5, |server, _| text(server, "clock_ahead_ms")),
        column("AGENT ENDPOINTS", 3, 9, |server, _| text(server, "agent_endpoints")),
        column("GROUP", 2, 6, |server, _| text(server, "admin_cluster")),
    ],
    name: |server| text(server, "id"),
};

fn listeners(server: &Value) -> String {
    let Some(listeners) = server.get("listeners").and_then(Value::as_object) else {
        return "-".to_owned();
    };
    let whole = Value::Object(listeners.clone());
    listeners.keys().map(|name| format!("{name} {}", text(&whole, name))).collect::<Vec<_>>().join("\n")
}

/// Runs `reeve member`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        None | Some(Verb::Show) => {
            let answer = api.get("/api/server", &Query::new()).await?;
            session.show(&MEMBER, &answer)
        }
        Some(Verb::List) => {
            let listing = api.list_plain("/api/servers").await?;
            session.show_list(&MEMBERS, &listing)
        }
    }
}
