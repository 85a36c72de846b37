//! `reeve audit`: who did what, and whether the log is whole.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::push;
use crate::Session;
use crate::api::Query;
use crate::failure::{FAILED, Failure, OK, Outcome};
use crate::human::parse_since;
use crate::view::{View, age, column, first_text, text};

/// The audit log.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List entries, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only this action, e.g. node.delete
        #[arg(long)]
        action: Option<String>,
        /// Only what this user, token or key did
        #[arg(long)]
        actor: Option<String>,
        /// Only what was done to this thing
        #[arg(long)]
        subject: Option<String>,
        /// Only since then: a time, a date, or how long ago (2h)
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Only until then
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Check that no entry was changed, removed or moved
    Verify,
}

static VIEW: View = View {
    plural: "audit entries",
    columns: &[
        column("SEQ", 6, 3, |entry, _| text(entry, "seq")),
        column("AGE", 7, 3, |entry, now| age(entry, "at", now)),
        column("ACTOR", 8, 6, |entry, _| actor(entry)),
        column("ACTION", 9, 8, |entry, _| text(entry, "action")),
        column("SUBJECT", 8, 8, |entry, _| text(entry, "subject")),
        column("DETAILS", 3, 8, |entry, _| text(entry, "details")),
        column("AT", 1, 8, |entry, _| text(entry, "at")).wide(),
        column("FROM", 1, 8, |entry, _| text(entry, "remote")).wide(),
        column("REQUEST", 1, 8, |entry, _| text(entry, "request_id")).wide(),
    ],
    name: |entry| text(entry, "seq"),
};

fn actor(entry: &Value) -> String {
    match entry.get("actor").filter(|actor| actor.is_object()) {
        Some(actor) => first_text(actor, &["name", "id"]),
        None => text(entry, "actor"),
    }
}

/// Runs `reeve audit`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { action, actor, subject, since, until, limit } => {
            let now = session.now();
            let when = |text: Option<String>| {
                let at = text.map(|text| {
                    parse_since(&text, now).map_err(|what| Failure::usage(what, "see `reeve audit list --help`"))
                });
                at.transpose()
            };
            let mut query = Query::new();
            push(&mut query, "action", action);
            push(&mut query, "actor", actor);
            push(&mut query, "subject", subject);
            push(&mut query, "since", when(since)?);
            push(&mut query, "until", when(until)?);
            let listing = api.list("/api/audit", &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Verify => {
            let report = api.get("/api/audit/verify", &Query::new()).await?;
            let ok = report.get("ok").and_then(Value::as_bool).unwrap_or(false);
            if !session.format().is_table() {
                crate::view::document(&mut session.world.out, session.globals.output, &report)?;
            } else if ok {
                session
                    .world
                    .out
                    .line(&format!("the audit log is whole: {} entries checked", text(&report, "entries")))?;
            } else {
                let first = text(&report, "first_bad");
                session
                    .world
                    .out
                    .line(&format!("the audit log is NOT whole: entry {first}: {}", text(&report, "problem")))?;
                session
                    .world
                    .out
                    .note("next:  keep a copy of the database, and compare it with a backup from before that entry")?;
            }
            Ok(if ok { OK } else { FAILED })
        }
    }
}
