//! Jobs, and what recurs.

use reeve_domain::job::{self, Filter};
use reeve_domain::recurring;
use reeve_types::job::JobState;
use reeve_types::{Error, Result, TextMatch};
use serde::{Deserialize, Serialize};

use super::{shown, shown_if};

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    kind: Option<String>,
    state: Option<String>,
    subject: Option<String>,
}

impl TryFrom<Query> for Filter {
    type Error = Error;
    fn try_from(q: Query) -> Result<Self> {
        let text = |text: Option<String>| text.as_deref().map(TextMatch::parse);
        let words = q.state.iter().flat_map(|words| words.split(',')).map(str::trim).filter(|word| !word.is_empty());
        let states = words.map(state).collect::<Result<_>>()?;
        Ok(Self { states, kind: text(q.kind), subject: text(q.subject) })
    }
}

fn state(word: &str) -> Result<JobState> {
    JobState::parse(word).ok_or_else(|| {
        let problem = format!("`{word}` is no state; there are queued, running, succeeded, failed and cancelled");
        Error::invalid("state", problem)
    })
}

/// Which part of an output.
#[derive(Debug, Deserialize)]
pub struct OutputQuery {
    /// First byte.
    pub offset: i64,
    /// Bytes at the most.
    pub limit: usize,
}

/// A piece of output.
#[derive(Debug, Serialize)]
pub struct Piece {
    /// Bytes before it.
    pub offset: i64,
    /// Where to read on.
    pub next_offset: i64,
    /// The text.
    pub text: String,
}

/// A job.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    kind: String,
    subject: String,
    state: JobState,
    requested_by: String,
    attempts: i64,
    run_at: String,
    cancel_requested: bool,
    error: Option<String>,
    steps: Vec<Step>,
    progress: Option<Progress>,
    inserted_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct Progress {
    done: i64,
    total: Option<i64>,
}

impl From<job::View> for View {
    fn from(view: job::View) -> Self {
        let job = view.job;
        Self {
            id: job.id.0,
            kind: job.kind,
            subject: job.subject,
            state: job.state,
            requested_by: job.requested_by,
            attempts: job.attempts,
            run_at: shown(job.run_at),
            cancel_requested: job.cancel_requested,
            error: job.error,
            steps: view.steps.into_iter().map(|s| Step { name: s.name, state: s.state.word() }).collect(),
            progress: job.done.map(|done| Progress { done, total: job.total }),
            inserted_at: shown(job.inserted_at),
            started_at: shown_if(job.started_at),
            finished_at: shown_if(job.finished_at),
        }
    }
}

/// A schedule or a reconciler.
#[derive(Debug, Serialize)]
pub struct RecurringView {
    name: &'static str,
    rhythm: String,
    enabled: bool,
    one_server: bool,
    server: Option<String>,
    running: bool,
    next_at: Option<String>,
    last_at: Option<String>,
    last_success_at: Option<String>,
    last_error: Option<String>,
    passes: u64,
    failures: u64,
}

impl From<recurring::View> for RecurringView {
    fn from(view: recurring::View) -> Self {
        let status = view.status;
        Self {
            name: status.name,
            rhythm: status.rhythm,
            enabled: !status.off,
            one_server: status.one_server,
            server: view.server,
            running: status.running,
            next_at: shown_if(view.next_at),
            last_at: shown_if(view.last_at),
            last_success_at: shown_if(status.last_success_at),
            last_error: status.last_error,
            passes: status.passes,
            failures: status.failures,
        }
    }
}
