//! Putting work in, in the transaction of the change that wants it.

use reeve_store::{Tx, job as table};
use reeve_types::id::Ids;
use reeve_types::job::{Job, JobState};
use reeve_types::{Error, JobId, Result, Timestamp};
use serde::Serialize;

use crate::body::Body;
use crate::saga::Saga;

/// A job to be put in.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Which body runs it.
    pub kind: &'static str,
    /// Ids for the body, JSON text.
    pub payload: String,
    /// What it is about, for lists: an id as a rule; empty when nothing in particular.
    pub subject: String,
    /// No second unfinished job with this key.
    pub unique_key: Option<String>,
    /// Not before this instant; None is at once.
    pub run_at: Option<Timestamp>,
    /// Who asks for it.
    pub requested_by: String,
}

impl NewJob {
    /// A job of the kind `B`.
    ///
    /// # Errors
    /// Internal when the payload cannot be written as JSON.
    pub fn new<C, B: Body<C>>(payload: &B::Payload, requested_by: &str) -> Result<Self> {
        Self::of(B::KIND, payload, requested_by)
    }

    /// A saga of the kind `S`, which begins with `state`.
    ///
    /// # Errors
    /// Internal when the state cannot be written as JSON.
    pub fn saga<C, S: Saga<C>>(state: &S::State, requested_by: &str) -> Result<Self> {
        Self::of(S::KIND, state, requested_by)
    }

    fn of(kind: &'static str, payload: &impl Serialize, requested_by: &str) -> Result<Self> {
        let payload = serde_json::to_string(payload).map_err(Error::internal)?;
        let subject = String::new();
        Ok(Self { kind, payload, subject, unique_key: None, run_at: None, requested_by: requested_by.to_owned() })
    }

    /// While a job with `key` is unfinished, no second one is made.
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// What it is about, for lists.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Not before `run_at`.
    pub fn at(mut self, run_at: Timestamp) -> Self {
        self.run_at = Some(run_at);
        self
    }

    fn row(self, id: JobId, now: Timestamp) -> Job {
        Job {
            id,
            kind: self.kind.to_owned(),
            payload: self.payload,
            subject: self.subject,
            unique_key: self.unique_key,
            state: JobState::Queued,
            progress: None,
            done: None,
            total: None,
            attempts: 0,
            run_at: self.run_at.unwrap_or(now),
            cancel_requested: false,
            error: None,
            requested_by: self.requested_by,
            inserted_at: now,
            started_at: None,
            finished_at: None,
        }
    }
}

/// Puts a job in; it runs once `tx` is committed. With a unique key that an unfinished job has, gives that job's id.
///
/// # Errors
/// As the store.
pub async fn enqueue(tx: &mut Tx, now: Timestamp, ids: &dyn Ids, job: NewJob) -> Result<JobId> {
    let row = job.row(JobId(ids.next()), now);
    // The other job may end between the two statements, then this one goes in after all.
    for _ in 0..5 {
        if table::insert(tx, std::slice::from_ref(&row)).await? == 1 {
            return Ok(row.id);
        }
        if let Some(key) = &row.unique_key
            && let Some(id) = table::by_unique_key(tx, key).await?
        {
            return Ok(id);
        }
    }
    Err(Error::unavailable("jobs with the same key come and go; try again in a moment"))
}

/// Puts many jobs in with few statements. Those whose unique key is taken are left out; says how many went in.
///
/// # Errors
/// As the store.
pub async fn enqueue_many(tx: &mut Tx, now: Timestamp, ids: &dyn Ids, jobs: Vec<NewJob>) -> Result<u64> {
    let rows: Vec<Job> = jobs.into_iter().map(|job| job.row(JobId(ids.next()), now)).collect();
    table::insert(tx, &rows).await
}
