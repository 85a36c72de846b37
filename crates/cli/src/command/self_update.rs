//! `reeve self-update`: asking nodes to update their agents.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::run_command::{RolloutArgs, TargetArgs};
use super::{push_order, push_words};
use crate::Session;
use crate::api::{EDGE, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::names::recent_id;
use crate::view::{View, age, column, state_style, text};

/// Self-update requests.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    request: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Ask nodes to update their agents: those that are healthy and take part
    Create {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        rollout: RolloutArgs,
    },
    /// List requests, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only requests in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "processing", "completed"])]
        status: Vec<String>,
        /// Order by a field; -FIELD for descending
        #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
        sort: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one request
    #[command(visible_alias = "get")]
    Show(Which),
    /// List what the nodes of a request answered
    Nodes {
        #[command(flatten)]
        which: Which,
        /// Only nodes in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "sent", "triggered", "failed", "cancelled"])]
        state: Vec<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Delete requests that are completed
    #[command(visible_alias = "rm")]
    Delete {
        /// Ids, parts of recent ones, or `last`
        #[arg(required = true)]
        requests: Vec<String>,
    },
    /// Pause a rollout after the batch at work
    Pause(Which),
    /// Go on with a paused or stopped rollout
    Resume(Which),
    /// Give a rollout up: nodes that were not asked are not asked
    Abort(Which),
}

static VIEW: View = View {
    plural: "self-update requests",
    columns: &[
        column("ID", 9, 9, |request, _| text(request, "id")),
        column("STATUS", 8, 6, |request, _| text(request, "status")).coloured(state_style),
        column("TRIGGERED", 7, 4, |request, _| count(request, "triggered")),
        column("FAILED", 7, 4, |request, _| count(request, "failed")),
        column("NODES", 6, 4, |request, _| count(request, "total")),
        column("TARGET", 5, 6, |request, _| super::commands::target(request)),
        column("ROLLOUT", 4, 6, |request, _| super::commands::rollout(request)).coloured(state_style),
        column("AGE", 4, 3, |request, now| age(request, "inserted_at", now)),
        column("BY", 2, 5, |request, _| text(request, "created_by")),
    ],
    name: |request| text(request, "id"),
};

static NODES: View = View {
    plural: "nodes",
    columns: &[
        column("NODE", 9, 9, |target, _| text(target, "node_id")),
        column("STATE", 8, 6, |target, _| text(target, "state")).coloured(state_style),
        column("REASON", 7, 10, |target, _| text(target, "reason")),
        column("BATCH", 3, 3, |target, _| text(target, "batch")),
        column("ANSWERED", 2, 4, |target, now| age(target, "answered_at", now)),
    ],
    name: |target| text(target, "node_id"),
};

fn count(request: &Value, which: &str) -> String {
    request.get("progress").map_or_else(|| "-".to_owned(), |progress| text(progress, which))
}

/// Runs `reeve self-update`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let path = format!("{EDGE}/self_update_requests");
    let find = async |which: &str| recent_id(&api, "self-update", &path, which).await;
    match noun.verb {
        Verb::Create { target, rollout } => {
            if !target.is_given() {
                let next = "add --all, -l SELECTOR, --cluster NAME or --node NAME";
                return Err(Failure::usage("no target: which nodes?", next));
            }
            let mut body = json!({ "targeting": target.body(&api).await? });
            if let (Some(map), Some(rollout)) = (body.as_object_mut(), rollout.body()) {
                map.insert("rollout".to_owned(), rollout);
            }
            let request = api.post(&path, &body).await?;
            let words = format!("asked; what the nodes answer: reeve self-update nodes {}", text(&request, "id"));
            session.done(&VIEW, &request, &words)
        }
        Verb::List { status, sort, limit } => {
            let mut query = Query::new();
            push_words(&mut query, "status", status);
            push_order(&mut query, sort.as_deref());
            let listing = api.list(&path, &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show(which) => {
            let id = find(&which.request).await?;
            let request = api.get(&format!("{path}/{id}"), &Query::new()).await?;
            session.show(&VIEW, &request)
        }
        Verb::Nodes { which, state, limit } => {
            let id = find(&which.request).await?;
            let mut query = Query::new();
            push_words(&mut query, "state", state);
            let listing = api.list(&format!("{path}/{id}/nodes"), &query, limit).await?;
            session.show_list(&NODES, &listing)
        }
        Verb::Delete { requests } => {
            for which in requests {
                let id = find(&which).await?;
                api.delete(&format!("{path}/{id}")).await?;
                session.said(&id, &format!("self-update request {id} deleted"))?;
            }
            Ok(OK)
        }
        Verb::Pause(which) => steer(session, &find(&which.request).await?, "pause", "paused").await,
        Verb::Resume(which) => steer(session, &find(&which.request).await?, "resume", "resumed").await,
        Verb::Abort(which) => steer(session, &find(&which.request).await?, "abort", "aborted").await,
    }
}

async fn steer(session: &mut Session<'_>, id: &str, verb: &str, done: &str) -> Outcome<u8> {
    let api = session.api()?;
    let request = api.post(&format!("{EDGE}/self_update_requests/{id}/rollout/{verb}"), &json!({})).await?;
    session.done(&VIEW, &request, &format!("the rollout of self-update request {id} is {done}"))
}
