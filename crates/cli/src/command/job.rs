//! `reeve job`: the server's background work: jobs, schedules and reconcilers.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{output, push, push_words, segment};
use crate::Session;
use crate::api::Query;
use crate::failure::{FAILED, INTERRUPTED, OK, Outcome};
use crate::names::recent_id;
use crate::view::{View, age, column, state_style, text};

/// Jobs.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Which {
    /// Id, a part of a recent one, or `last`
    job: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List jobs, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only jobs in this state; several after a comma
        #[arg(long, value_delimiter = ',', value_parser = ["queued", "running", "succeeded", "failed", "cancelled"])]
        state: Vec<String>,
        /// Only jobs of this kind (`*` is a wildcard)
        #[arg(long)]
        kind: Option<String>,
        /// Only jobs about this thing, e.g. a node's id
        #[arg(long)]
        subject: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one job with its steps
    #[command(visible_alias = "get")]
    Show(Which),
    /// Print a job's output
    #[command(visible_alias = "log")]
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on printing until the job ends; exit code 1 when it did not succeed
        #[arg(short, long)]
        follow: bool,
        /// Leave out this many bytes at the beginning
        #[arg(long, default_value_t = 0)]
        offset: u64,
    },
    /// Cancel a job; a saga undoes what it did
    Cancel(Which),
    /// Queue a failed or cancelled job once more
    Retry(Which),
    /// List the schedules
    Schedules,
    /// List the loops that make reality match the records
    Reconcilers,
    /// Ask for a tick of a schedule or a pass of a reconciler at once
    Poke {
        /// Its name, as `event.prune`
        name: String,
    },
}

static VIEW: View = View {
    plural: "jobs",
    columns: &[
        column("ID", 9, 9, |job, _| text(job, "id")),
        column("KIND", 8, 6, |job, _| text(job, "kind")),
        column("STATE", 7, 6, |job, _| text(job, "state")).coloured(state_style),
        column("PROGRESS", 5, 4, |job, _| progress(job)),
        column("SUBJECT", 3, 6, |job, _| text(job, "subject")),
        column("ATTEMPTS", 4, 3, |job, _| text(job, "attempts")),
        column("BY", 4, 4, |job, _| text(job, "requested_by")),
        column("AGE", 6, 3, |job, now| age(job, "inserted_at", now)),
        column("ERROR", 5, 6, |job, _| text(job, "error")),
        column("STEPS", 1, 6, |job, _| steps(job)).details(),
        column("CANCEL REQUESTED", 1, 6, |job, _| text(job, "cancel_requested")).details(),
        column("NOT BEFORE", 1, 6, |job, _| text(job, "run_at")).details(),
        column("STARTED AT", 1, 6, |job, _| text(job, "started_at")).details(),
        column("FINISHED AT", 1, 6, |job, _| text(job, "finished_at")).details(),
    ],
    name: |job| text(job, "id"),
};

static SCHEDULES: View = View {
    plural: "schedules",
    columns: &[
        column("NAME", 9, 8, |schedule, _| text(schedule, "name")),
        column("RHYTHM", 8, 6, rhythm),
        column("NEXT", 7, 6, |schedule, _| text(schedule, "next_at")),
        column("LAST", 6, 6, |schedule, _| text(schedule, "last_at")),
        column("ERROR", 5, 6, |schedule, _| text(schedule, "last_error")),
    ],
    name: |schedule| text(schedule, "name"),
};

static RECONCILERS: View = View {
    plural: "reconcilers",
    columns: &[
        column("NAME", 9, 8, |reconciler, _| text(reconciler, "name")),
        column("RHYTHM", 7, 6, rhythm),
        column("LAST GOOD", 8, 4, |reconciler, now| age(reconciler, "last_success_at", now)),
        column("PASSES", 5, 4, |reconciler, _| text(reconciler, "passes")),
        column("FAILURES", 6, 4, |reconciler, _| text(reconciler, "failures")),
        column("SERVER", 3, 6, |reconciler, _| text(reconciler, "server")),
        column("ERROR", 5, 6, |reconciler, _| text(reconciler, "last_error")),
    ],
    name: |reconciler| text(reconciler, "name"),
};

fn rhythm(recurring: &Value, _: jiff::Timestamp) -> String {
    if recurring["enabled"] == false { "off".to_owned() } else { text(recurring, "rhythm") }
}

/// How far a job is: what it says, else its steps.
fn progress(job: &Value) -> String {
    if let Some(done) = job.pointer("/progress/done").and_then(Value::as_i64) {
        let total = job.pointer("/progress/total").and_then(Value::as_i64);
        return total.map_or_else(|| done.to_string(), |total| format!("{done}/{total}"));
    }
    match job.get("steps").and_then(Value::as_array) {
        Some(steps) if !steps.is_empty() => {
            format!("{}/{}", steps.iter().filter(|step| step["state"] == "done").count(), steps.len())
        }
        _ => "-".to_owned(),
    }
}

fn steps(job: &Value) -> String {
    let steps = job.get("steps").and_then(Value::as_array).into_iter().flatten();
    let lines: Vec<String> = steps.map(|step| format!("{} {}", text(step, "name"), text(step, "state"))).collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

/// Runs `reeve job`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let find = async |which: &Which| recent_id(&api, "job", "/api/jobs", &which.job).await;
    match noun.verb {
        Verb::List { state, kind, subject, limit } => {
            let mut query = Query::new();
            push_words(&mut query, "state", state);
            push(&mut query, "kind", kind);
            push(&mut query, "subject", subject);
            let listing = api.list("/api/jobs", &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show(which) => {
            let job = api.get(&format!("/api/jobs/{}", find(&which).await?), &Query::new()).await?;
            session.show(&VIEW, &job)
        }
        Verb::Logs { which, follow, offset } => {
            let id = find(&which).await?;
            if follow {
                return tail(session, &id, offset).await;
            }
            output::print(session, &api, &format!("/api/jobs/{id}/output"), offset).await
        }
        Verb::Cancel(which) => {
            let id = find(&which).await?;
            let job = api.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await?;
            let words = if job["state"] == "cancelled" { "cancelled" } else { "is being cancelled" };
            session.done(&VIEW, &job, &format!("job {id} {words}"))
        }
        Verb::Retry(which) => {
            let id = find(&which).await?;
            let job = api.post(&format!("/api/jobs/{id}/retry"), &json!({})).await?;
            session.done(&VIEW, &job, &format!("job {id} is queued once more"))
        }
        Verb::Schedules => {
            let listing = api.list_plain("/api/schedules").await?;
            session.show_list(&SCHEDULES, &listing)
        }
        Verb::Reconcilers => {
            let listing = api.list_plain("/api/reconcilers").await?;
            session.show_list(&RECONCILERS, &listing)
        }
        Verb::Poke { name } => {
            let schedules = api.list_plain("/api/schedules").await?;
            let is_schedule = schedules.rows.iter().any(|schedule| text(schedule, "name") == name);
            let what = if is_schedule { "schedules" } else { "reconcilers" };
            api.post(&format!("/api/{what}/{}/poke", segment(&name)), &json!({})).await?;
            session.said(&name, &format!("{name} was asked for"))
        }
    }
}

/// Prints a job's output until the job ends; the exit code says how it ended.
pub async fn tail(session: &mut Session<'_>, id: &str, offset: u64) -> Outcome<u8> {
    let Some(job) = output::tail(session, &format!("/api/jobs/{id}/stream"), offset).await? else {
        return Ok(INTERRUPTED);
    };
    if job["state"] == "succeeded" {
        return Ok(OK);
    }
    session.world.out.note(&format!("the job has {}: {}", text(&job, "state"), text(&job, "error")))?;
    Ok(FAILED)
}
