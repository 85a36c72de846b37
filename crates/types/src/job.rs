//! Jobs: rows of asynchronous work.

use crate::id::JobId;
use crate::node::words;
use crate::time::Timestamp;

words! {
    /// Where a job stands.
    JobState {
        /// Waiting for its time or a free worker.
        Queued = "queued",
        /// Leased by a worker.
        Running = "running",
        /// Done.
        Succeeded = "succeeded",
        /// Gave up; `error` says why. A saga has been undone.
        Failed = "failed",
        /// Cancelled; a saga has been undone.
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A job as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Row id.
    pub id: JobId,
    /// Which body runs it.
    pub kind: String,
    /// Ids for the body, JSON text.
    pub payload: String,
    /// What it is about, an id as a rule; empty when nothing in particular.
    pub subject: String,
    /// Only one unfinished job with the same key; None is no such rule.
    pub unique_key: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// What a saga has got done, JSON text; None for plain jobs.
    pub progress: Option<String>,
    /// How much of its work a plain job says it has done.
    pub done: Option<i64>,
    /// How much that is in all, where it knows.
    pub total: Option<i64>,
    /// Times it was started.
    pub attempts: i64,
    /// Not before this instant.
    pub run_at: Timestamp,
    /// Somebody asked to stop it.
    pub cancel_requested: bool,
    /// Why it failed, safe to show.
    pub error: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// Creation.
    pub inserted_at: Timestamp,
    /// First start.
    pub started_at: Option<Timestamp>,
    /// The end.
    pub finished_at: Option<Timestamp>,
}
