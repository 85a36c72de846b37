//! `reeve command`: the commands that were given, and their rollouts.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::watch::{self, WatchOptions};
use super::{push, push_order};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::failure::{OK, Outcome};
use crate::human;
use crate::names::recent_id;
use crate::view::{View, age, column, state_style, text};

/// Commands.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    command: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List commands, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only commands with this text (`*` is a wildcard)
        #[arg(long)]
        text: Option<String>,
        /// Order by a field; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one command
    #[command(visible_alias = "get")]
    Show(Which),
    /// Count a command's results
    Summary(Which),
    /// Watch a command until it ends, like `run` does
    Watch {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        options: WatchOptions,
    },
    /// Cancel all of a command's open executions
    Cancel(Which),
    /// Delete commands that have ended
    #[command(visible_alias = "rm")]
    Delete {
        /// Ids, parts of recent ones, or `last`
        #[arg(required = true)]
        commands: Vec<String>,
    },
    /// Pause a rollout after the batch at work
    Pause(Which),
    /// Go on with a paused or stopped rollout
    Resume(Which),
    /// Give a rollout up: what has not begun is not begun
    Abort(Which),
}

/// How commands are shown.
pub static VIEW: View = View {
    plural: "commands",
    columns: &[
        column("ID", 9, 9, |command, _| text(command, "id")),
        column("COMMAND", 8, 8, |command, _| text(command, "command_text")),
        column("RESULT", 7, 8, |command, _| result(command)),
        column("TARGET", 4, 6, |command, _| target(command)),
        column("ROLLOUT", 3, 7, |command, _| rollout(command)).coloured(state_style),
        column("BY", 5, 5, |command, _| text(command, "created_by")),
        column("AGE", 6, 3, |command, now| age(command, "inserted_at", now)),
        column("TIMEOUT", 1, 7, |command, _| timeout(command)).wide(),
        column("EXPIRES", 1, 7, |command, now| age(command, "expired_at", now)).wide(),
        column("STATES", 1, 8, |command, _| states(command)).details(),
        column("GIVEN AT", 1, 8, |command, _| text(command, "inserted_at")).details(),
    ],
    name: |command| text(command, "id"),
};

static SUMMARY: View = View {
    plural: "summaries",
    columns: &[
        column("TOTAL", 9, 3, |summary, _| text(summary, "total")),
        column("PENDING", 4, 3, |summary, _| text(summary, "pending")),
        column("SENT", 4, 3, |summary, _| text(summary, "sent")),
        column("RUNNING", 4, 3, |summary, _| text(summary, "running")),
        column("COMPLETED", 5, 3, |summary, _| text(summary, "completed")),
        column("SUCCEEDED", 8, 3, |summary, _| text(summary, "succeeded")),
        column("FAILED", 7, 3, |summary, _| text(summary, "failed")),
        column("TIMED OUT", 3, 3, |summary, _| text(summary, "timed_out")),
        column("CANCELLED", 3, 3, |summary, _| text(summary, "cancelled")),
        column("EXPIRED", 3, 3, |summary, _| text(summary, "expired")),
        column("EXIT CODES", 6, 3, |summary, _| text(summary, "exit_codes")),
    ],
    name: |summary| text(summary, "total"),
};

/// `8 ok, 1 failed of 10`, from a command's summary.
fn result(command: &Value) -> String {
    let Some(summary) = command.get("summary").filter(|summary| summary.is_object()) else {
        return "-".to_owned();
    };
    let count = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (total, succeeded) = (count("total"), count("succeeded"));
    let open = count("pending") + count("sent");
    let bad = total.saturating_sub(succeeded + open);
    let mut text = format!("{succeeded}/{total} ok");
    if bad > 0 {
        text.push_str(&format!(", {bad} not"));
    }
    if open > 0 {
        text.push_str(&format!(", {open} open"));
    }
    text
}

fn states(command: &Value) -> String {
    let Some(summary) = command.get("summary").and_then(Value::as_object) else {
        return "-".to_owned();
    };
    let counts = summary.iter().filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
    counts.map(|(state, count)| format!("{state} {count}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn target(command: &Value) -> String {
    let Some(targeting) = command.get("targeting") else {
        return "-".to_owned();
    };
    let selector = targeting.get("label_selector").and_then(Value::as_str).filter(|selector| !selector.is_empty());
    let base = match targeting.get("type").and_then(Value::as_str) {
        Some("nodes") => {
            let count = targeting.get("node_ids").and_then(Value::as_array).map_or(0, Vec::len);
            format!("{count} node{}", if count == 1 { "" } else { "s" })
        }
        Some("clusters") => format!("cluster {}", text(targeting, "cluster_names")),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    };
    match selector {
        Some(selector) if base == "all" => selector.to_owned(),
        Some(selector) => format!("{base}, {selector}"),
        None => base,
    }
}

pub(super) fn rollout(command: &Value) -> String {
    match command.get("rollout").filter(|rollout| rollout.is_object()) {
        None => "-".to_owned(),
        Some(rollout) => text(rollout, "state"),
    }
}

fn timeout(command: &Value) -> String {
    match command.get("timeout").and_then(Value::as_u64) {
        None => "-".to_owned(),
        Some(ms) => human::duration(Duration::from_millis(ms)),
    }
}

/// Runs `reeve command`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/commands");
    let find = async |which: &str| recent_id(&api, "command", &path, which).await;
    match noun.verb {
        Verb::List { text, sort, limit } => {
            let mut query = Query::new();
            push(&mut query, "command_text", text);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show(which) => {
            let id = find(&which.command).await?;
            let command = api.get(&format!("{path}/{id}"), &Query::new()).await?;
            session.show(&VIEW, &command)
        }
        Verb::Summary(which) => {
            let id = find(&which.command).await?;
            let summary = api.get(&format!("{path}/{id}/summary"), &Query::new()).await?;
            session.show(&SUMMARY, &summary)
        }
        Verb::Watch { which, options } => {
            let id = find(&which.command).await?;
            let command = api.get(&format!("{path}/{id}"), &Query::new()).await?;
            watch::command(session, &api, &command, &options).await
        }
        Verb::Cancel(which) => {
            let id = find(&which.command).await?;
            let summary = api.post(&format!("{path}/{id}/cancel"), &json!({})).await?;
            session.done(&SUMMARY, &summary, &format!("command {id}: its open executions are being cancelled"))
        }
        Verb::Delete { commands } => {
            for which in commands {
                let id = find(&which).await?;
                api.delete(&format!("{path}/{id}")).await?;
                session.said(&id, &format!("command {id} deleted"))?;
            }
            Ok(OK)
        }
        Verb::Pause(which) => steer(session, &find(&which.command).await?, "pause", "paused").await,
        Verb::Resume(which) => steer(session, &find(&which.command).await?, "resume", "resumed").await,
        Verb::Abort(which) => steer(session, &find(&which.command).await?, "abort", "aborted").await,
    }
}

async fn steer(session: &mut Session<'_>, id: &str, verb: &str, done: &str) -> Outcome<u8> {
    let api = session.api()?;
    let command = api.post(&format!("{EDGE}/commands/{id}/rollout/{verb}"), &json!({})).await?;
    session.done(&VIEW, &command, &format!("the rollout of command {id} is {done}"))
}

/// How long an execution took by the server's clock.
pub fn took(execution: &Value) -> Option<Duration> {
    let at = |key: &str| execution.get(key).and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    let start = at("started_at").or_else(|| at("sent_at"))?;
    let ms = at("completed_at")?.as_millisecond() - start.as_millisecond();
    u64::try_from(ms).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_sum_up_a_command() {
        let command = json!({
            "targeting": {"type": "all", "label_selector": "env=prod"},
            "summary": {"total": 10, "pending": 1, "sent": 1, "succeeded": 7, "failed": 1},
            "rollout": {"state": "running"}, "timeout": 90_000
        });
        assert_eq!((result(&command).as_str(), target(&command).as_str()), ("7/10 ok, 1 not, 2 open", "env=prod"));
        assert_eq!((rollout(&command).as_str(), timeout(&command).as_str()), ("running", "1m30s"));
        assert_eq!(target(&json!({"targeting": {"type": "nodes", "node_ids": ["a"]}})), "1 node");
        assert_eq!(
            target(&json!({"targeting": {"type": "clusters", "cluster_names": ["a", "b"], "label_selector": "x"}})),
            "cluster a,b, x"
        );
    }
}
