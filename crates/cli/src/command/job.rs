//! `reeve job`: the server's background work.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{push, segment};
use crate::Session;
use crate::api::Query;
use crate::failure::{OK, Outcome};
use crate::view::{View, age, column, state_style, text};

/// Jobs.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List jobs, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only jobs in this state
        #[arg(long)]
        state: Option<String>,
        /// Only jobs of this kind
        #[arg(long)]
        kind: Option<String>,
        /// At most this many; 0 for all
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one job
    #[command(visible_alias = "get")]
    Show {
        /// The job's id
        id: String,
    },
    /// Print a job's output
    #[command(visible_alias = "log")]
    Logs {
        /// The job's id
        id: String,
    },
    /// Cancel a job
    Cancel {
        /// The job's id
        id: String,
    },
}

static VIEW: View = View {
    plural: "jobs",
    columns: &[
        column("ID", 9, 9, |job, _| text(job, "id")),
        column("KIND", 8, 6, |job, _| text(job, "kind")),
        column("STATE", 7, 6, |job, _| text(job, "state")).coloured(state_style),
        column("ATTEMPTS", 4, 3, |job, _| text(job, "attempts")),
        column("BY", 4, 4, |job, _| text(job, "requested_by")),
        column("AGE", 6, 3, |job, now| age(job, "inserted_at", now)),
        column("ERROR", 5, 6, |job, _| text(job, "error")),
    ],
    name: |job| text(job, "id"),
};

/// Runs `reeve job`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    match noun.verb {
        Verb::List { state, kind, limit } => {
            let mut query = Query::new();
            push(&mut query, "state", state);
            push(&mut query, "kind", kind);
            let listing = api.list("/api/jobs", &query, limit).await?;
            session.show_list(&VIEW, &listing)
        }
        Verb::Show { id } => {
            let job = api.get(&format!("/api/jobs/{}", segment(&id)), &Query::new()).await?;
            session.show(&VIEW, &job)
        }
        Verb::Logs { id } => {
            let (text, _) = api.text(&format!("/api/jobs/{}/output", segment(&id)), &Query::new()).await?;
            session.world.out.raw(&text)?;
            Ok(OK)
        }
        Verb::Cancel { id } => {
            let job = api.post(&format!("/api/jobs/{}/cancel", segment(&id)), &json!({})).await?;
            session.done(&VIEW, &job, &format!("job {id} is being cancelled"))
        }
    }
}
