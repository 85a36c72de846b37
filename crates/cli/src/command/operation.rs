//! `reeve operation`: changes of servers and what is on them, and how they stand.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::operation_watch as watch;
use super::provisioned::{Called, Kind};
use super::{joined, output};
use crate::Session;
use crate::api::{Api, Query};
use crate::failure::{FAILED, INTERRUPTED, OK, Outcome};
use crate::view::{Format, View, age, column, document, state_style, text};

/// Operations.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    operation: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List operations, newest last
    #[command(visible_alias = "ls")]
    List {
        /// Only operations in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["pending", "running", "completed", "failed", "cancelled"])]
        status: Vec<String>,
        /// Only operations of this type
        #[arg(long, value_name = "TYPE", value_parser = TYPES)]
        r#type: Option<String>,
        /// Only operations of this workspace
        #[arg(long, short)]
        workspace: Option<String>,
        /// At most this many of the newest; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one operation with its steps
    #[command(visible_alias = "get")]
    Show(Which),
    /// Watch an operation until it ends; exit code 1 when it did not complete
    Watch(Which),
    /// Print the log of an operation
    #[command(visible_alias = "log")]
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on printing until it ends; exit code 1 when it did not complete
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel an operation; what it did is taken back
    Cancel(Which),
    /// Try a failed operation again from the step that failed
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        wait: Wait,
    },
}

const TYPES: [&str; 11] = [
    "server_create",
    "server_delete",
    "server_start",
    "server_stop",
    "server_reboot",
    "taskserv_create",
    "taskserv_delete",
    "taskserv_upgrade",
    "cluster_create",
    "cluster_delete",
    "batch",
];

/// How far a command goes: looks, begins, or waits for the end.
#[derive(Debug, Clone, Args)]
pub struct Extent {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    wait: Wait,
}

impl Extent {
    /// A dry run is always waited for: it is short, and its plan is what was asked for.
    pub fn wait(&self) -> Wait {
        Wait { wait: self.wait.wait || self.check }
    }
}

/// Whether a command waits for what it began.
#[derive(Debug, Clone, Default, Args)]
pub struct Wait {
    /// Wait until it has ended, with its progress; exit code 1 when it did not complete
    #[arg(long)]
    pub wait: bool,
}

pub(super) static VIEW: View = View {
    plural: "operations",
    columns: &[
        column("ID", 9, 9, |operation, _| text(operation, "id")),
        column("TYPE", 8, 6, |operation, _| text(operation, "type")),
        column("SUBJECT", 7, 6, |operation, _| text(operation, "subject")),
        column("STATUS", 8, 6, |operation, _| text(operation, "status")).coloured(state_style),
        column("PROGRESS", 5, 4, |operation, _| progress(operation)),
        column("AGE", 7, 3, |operation, now| age(operation, "created_at", now)),
        column("ERROR", 6, 6, |operation, _| text(operation, "error")),
        column("WORKSPACE", 1, 6, |operation, _| text(operation, "workspace")).details(),
        column("BY", 1, 4, |operation, _| text(operation, "requested_by")).details(),
        column("CHECK MODE", 1, 4, |operation, _| text(operation, "check_mode")).details(),
        column("WAITING", 1, 4, |operation, _| text(operation, "waiting")).details(),
        column("STEPS", 1, 4, |operation, _| lines(&operation["steps"])).details(),
        column("PHASES", 1, 4, |operation, _| lines(&operation["phases"])).details(),
        column("RESULT", 1, 4, |operation, _| result(operation)).details(),
    ],
    name: |operation| text(operation, "id"),
};

/// The list has six keys only.
static LINES: View = View {
    plural: "operations",
    columns: &[
        column("ID", 9, 9, |operation, _| text(operation, "id")),
        column("STATUS", 8, 6, |operation, _| text(operation, "status")).coloured(state_style),
        column("AGE", 7, 3, |operation, now| age(operation, "created_at", now)),
        column("CHANGED", 6, 3, |operation, now| age(operation, "updated_at", now)),
        column("ERROR", 6, 6, |operation, _| text(operation, "error")),
        column("RESULT", 5, 6, |operation, _| match operation.pointer("/result/summary") {
            // A plan in full is a screen of its own: `reeve plan show`.
            Some(_) => text(&operation["result"], "summary"),
            None => text(operation, "result"),
        }),
    ],
    name: |operation| text(operation, "id"),
};

fn progress(operation: &Value) -> String {
    match (operation.pointer("/progress/done"), operation.pointer("/progress/total")) {
        (Some(done), Some(total)) => format!("{done}/{total}"),
        _ => "-".to_owned(),
    }
}

fn lines(steps: &Value) -> String {
    let steps = steps.as_array().into_iter().flatten();
    let lines: Vec<String> = steps
        .map(|step| {
            let detail = step.get("detail").and_then(Value::as_str).unwrap_or_default();
            format!("{} {} {detail}", text(step, "name"), text(step, "state")).trim_end().to_owned()
        })
        .collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

/// A plan as people read it; anything else as JSON.
fn result(operation: &Value) -> String {
    match operation.pointer("/result/text").and_then(Value::as_str) {
        Some(plan) => plan.trim_end().to_owned(),
        None if operation["result"].is_object() => {
            serde_json::to_string_pretty(&operation["result"]).unwrap_or_default()
        }
        None => "-".to_owned(),
    }
}

pub(super) static KIND: Kind = Kind {
    noun: "operation",
    lines: &LINES,
    view: &VIEW,
    whole: "/detail",
    called: Called::Recent { newest_first: false, first: "begin one, e.g. with `reeve server create NAME`" },
};

/// Runs `reeve operation`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let find = async |which: &Which| KIND.find(&api, &which.operation).await;
    match noun.verb {
        Verb::List { status, r#type, workspace, limit } => {
            let filters = [("status", joined(status)), ("type", r#type), ("workspace", workspace)];
            KIND.list(session, &api, filters, limit).await
        }
        Verb::Show(which) => KIND.show(session, &api, &which.operation).await,
        Verb::Watch(which) => {
            let id = find(&which).await?;
            let waiting = vec![(id.clone(), json!({ "id": id }))];
            begun(session, &api, waiting, &Wait { wait: true }).await
        }
        Verb::Logs { which, follow } => {
            let id = find(&which).await?;
            if !follow {
                return output::print(session, &api, &format!("{}/log", KIND.at(&id)), 0).await;
            }
            let ended = output::tail(session, &format!("{}/stream", KIND.at(&id)), 0).await?;
            Ok(ended.map_or(INTERRUPTED, |operation| code(&operation)))
        }
        Verb::Cancel(which) => {
            let id = find(&which).await?;
            let operation = api.post(&format!("{}/cancel", KIND.at(&id)), &json!({})).await?;
            session.done(&LINES, &operation, &format!("operation {id} is cancelled; what it did is taken back"))
        }
        Verb::Retry { which, wait } => {
            let id = find(&which).await?;
            let operation = api.post(&format!("{}/retry", KIND.at(&id)), &json!({})).await?;
            begun(session, &api, vec![(format!("trying {id} again"), operation)], &wait).await
        }
    }
}

fn code(operation: &Value) -> u8 {
    if operation["status"] == "completed" { OK } else { FAILED }
}

/// Says what was begun, or waits for the end of all of it.
pub(super) async fn begun(
    session: &mut Session<'_>,
    api: &Api,
    begun: Vec<(String, Value)>,
    wait: &Wait,
) -> Outcome<u8> {
    let mut details = Vec::new();
    for (_, operation) in &begun {
        let id = text(operation, "id");
        details.push(match wait.wait {
            true => Value::Null,
            false => {
                api.get(&format!("{}/detail", KIND.at(&id)), &Query::new()).await.unwrap_or_else(|_| operation.clone())
            }
        });
    }
    if !wait.wait {
        let people = session.format().is_table();
        for (what, operation) in begun.iter().filter(|_| people) {
            session.world.out.note(&format!("{what}: operation {}", text(operation, "id")))?;
        }
        if people {
            session.world.out.note("next:  reeve operation watch last, or give --wait")?;
            return Ok(OK);
        }
        return shown(session, details);
    }
    let mut worst = OK;
    for ((what, operation), detail) in begun.iter().zip(&mut details) {
        let Some(ended) = watch::follow(session, &text(operation, "id"), what).await? else {
            let next = "the work goes on at the server\nnext:  reeve operation watch last";
            session.world.out.note(next)?;
            return Ok(INTERRUPTED);
        };
        worst = worst.max(code(&ended));
        *detail = ended;
        if session.format().is_table() {
            close(session, what, detail)?;
        }
    }
    if session.format().is_table() {
        return Ok(worst);
    }
    shown(session, details).map(|_| worst)
}

/// The closing words for people.
fn close(session: &mut Session<'_>, what: &str, ended: &Value) -> Outcome<()> {
    if let Some(plan) = ended.pointer("/result/text").and_then(Value::as_str) {
        session.world.out.raw(plan)?;
        if let Some(id) = ended.pointer("/result/plan_id").and_then(Value::as_str) {
            session.world.out.note(&format!("next:  reeve plan apply {id}"))?;
        }
        return Ok(());
    }
    let id = text(ended, "id");
    let mut words = format!("{what}: {}", text(ended, "status"));
    if let Some(address) = ended.pointer("/result/ip_address").and_then(Value::as_str) {
        words.push_str(&format!(", {address}"));
    }
    if let Some(error) = ended.get("error").and_then(Value::as_str) {
        words.push_str(&format!(": {error}\nnext:  reeve operation logs {id}, then reeve operation retry {id}"));
    }
    session.world.out.note(&words)
}

fn shown(session: &mut Session<'_>, mut details: Vec<Value>) -> Outcome<u8> {
    let format = session.format();
    if format == Format::Name {
        details.iter().try_for_each(|operation| session.world.out.line(&text(operation, "id")))?;
        return Ok(OK);
    }
    let all = match details.len() {
        1 => details.remove(0),
        _ => Value::Array(details),
    };
    document(&mut session.world.out, format, &all)?;
    Ok(OK)
}
