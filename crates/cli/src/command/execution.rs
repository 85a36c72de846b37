//! `reeve execution`: a command's results on each node, and their output.

use clap::{Args, Subcommand};
use serde_json::json;

use super::commands::took;
use super::{output, push, push_order, push_words};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::failure::{INTERRUPTED, OK, Outcome};
use crate::human;
use crate::names::{self, recent_id};
use crate::view::{View, age, column, state_style, text};

/// Executions.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    execution: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List executions, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only those of this command: id, a part of a recent one, or `last`
        #[arg(long)]
        command: Option<String>,
        /// Only those on this node: id, its start, host name or alias
        #[arg(long)]
        node: Option<String>,
        /// Only those on nodes of this cluster (`*` is a wildcard)
        #[arg(short, long)]
        cluster: Option<String>,
        /// Only those in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "sent", "completed", "cancelled", "expired"])]
        status: Vec<String>,
        /// Only those that ended with this exit code
        #[arg(long, conflicts_with = "failed", allow_hyphen_values = true)]
        exit_code: Option<i64>,
        /// Only those that ended with an exit code above 0
        #[arg(long)]
        failed: bool,
        /// Only those whose output matches (`*` is a wildcard)
        #[arg(long)]
        grep: Option<String>,
        /// Order by a field, e.g. completed_at; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one execution with its output
    #[command(visible_alias = "get")]
    Show(Which),
    /// Print an execution's output
    #[command(visible_alias = "log")]
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on printing until the execution ends
        #[arg(short, long)]
        follow: bool,
        /// Leave out this many bytes at the beginning
        #[arg(long, default_value_t = 0)]
        offset: u64,
    },
    /// Cancel an execution that has not ended
    Cancel(Which),
    /// Delete executions that have ended
    #[command(visible_alias = "rm")]
    Delete {
        /// Ids, parts of recent ones, or `last`
        #[arg(required = true)]
        executions: Vec<String>,
    },
}

static VIEW: View = View {
    plural: "executions",
    columns: &[
        column("ID", 9, 9, |execution, _| text(execution, "id")),
        column("NODE", 8, 8, |execution, _| names::short(&text(execution, "node_id"))),
        column("STATUS", 7, 6, |execution, _| text(execution, "status")).coloured(state_style),
        column("EXIT", 7, 4, |execution, _| text(execution, "exit_code")).coloured(state_style),
        column("TOOK", 5, 4, |execution, _| took(execution).map_or_else(|| "-".to_owned(), human::duration)),
        column("COMMAND", 4, 8, |execution, _| text(execution, "command_text")),
        column("AGE", 6, 3, |execution, now| age(execution, "inserted_at", now)),
        column("NODE ID", 1, 36, |execution, _| text(execution, "node_id")).wide(),
        column("CLUSTER", 1, 6, |execution, _| text(execution, "cluster_name")).wide(),
        column("COMMAND ID", 1, 36, |execution, _| text(execution, "command_id")).wide(),
        column("SENT AT", 1, 6, |execution, _| text(execution, "sent_at")).details(),
        column("COMPLETED AT", 1, 6, |execution, _| text(execution, "completed_at")).details(),
        column("CANCELLED AT", 1, 6, |execution, _| text(execution, "cancelled_at")).details(),
        column("OUTPUT", 1, 6, |execution, _| text(execution, "output")).details(),
    ],
    name: |execution| text(execution, "id"),
};

/// Runs `reeve execution`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/command_executions");
    let find = async |which: &str| recent_id(&api, "execution", &path, which).await;
    match noun.verb {
        Verb::List { command, node, cluster, status, exit_code, failed, grep, sort, limit } => {
            let mut query = Query::new();
            if let Some(command) = command {
                query.push(("command_id", recent_id(&api, "command", &format!("{EDGE}/commands"), &command).await?));
            }
            if let Some(node) = node {
                query.push(("node_id", names::node_id(&api, &node).await?));
            }
            push(&mut query, "cluster_name", cluster);
            push_words(&mut query, "status", status);
            push(&mut query, "exit_code", exit_code);
            push(&mut query, "exit_code__gte", failed.then_some(1));
            push(&mut query, "output", grep);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show(which) => {
            let id = find(&which.execution).await?;
            let execution = api.get(&format!("{path}/{id}"), &Query::new()).await?;
            session.show(&VIEW, &execution)
        }
        Verb::Logs { which, follow, offset } => {
            let id = find(&which.execution).await?;
            if !follow {
                return output::print(session, &api, &format!("{path}/{id}/output"), offset).await;
            }
            let ended = output::tail(session, &format!("{path}/{id}/stream"), offset).await?;
            Ok(if ended.is_some() { OK } else { INTERRUPTED })
        }
        Verb::Cancel(which) => {
            let id = find(&which.execution).await?;
            let answer = api.patch(&format!("{path}/{id}/cancel"), &json!({})).await?;
            let words = format!("execution {id}: {}", text(&answer, "result"));
            session.told(&id, &answer, &words)
        }
        Verb::Delete { executions } => {
            for which in executions {
                let id = find(&which).await?;
                api.delete(&format!("{path}/{id}")).await?;
                session.said(&id, &format!("execution {id} deleted"))?;
            }
            Ok(OK)
        }
    }
}
