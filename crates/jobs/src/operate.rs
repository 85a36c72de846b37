//! What people do with jobs: look, stop, try again, clear away.

use reeve_store::job::{self as table, Backlog, Depth, Filter};
use reeve_store::{Tx, dialect};
use reeve_types::job::{Job, JobState};
use reeve_types::{Error, JobId, Page, Paged, Result, Timestamp};

use crate::progress::Progress;

/// One job.
///
/// # Errors
/// NotFound.
pub async fn get(tx: &mut Tx, id: &JobId) -> Result<Job> {
    table::get(tx, id).await?.ok_or_else(|| Error::not_found("job"))
}

/// A page of jobs, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Paged<Job>> {
    table::list(tx, filter, page).await
}

/// Stops a job. One that waits and has done nothing is cancelled here and now; one that runs is told to stop, a saga
/// unwinds first. Gives the job as it then is.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn cancel(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<Job> {
    if !table::cancel_queued(tx, id, now).await? && !table::request_cancel(tx, id, now).await? {
        let job = get(tx, id).await?;
        return Err(Error::conflict(format!("the job has already {}", past(job.state))));
    }
    get(tx, id).await
}

/// Lets a job that waits look again at once. One that runs or has ended is left alone.
///
/// # Errors
/// As the store.
pub async fn hurry(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<()> {
    table::hurry(tx, id, now).await
}

/// Queues a failed or cancelled job once more. A saga that could not be undone goes on undoing where it stuck, then
/// begins anew.
///
/// # Errors
/// NotFound; Conflict when it has not failed, or an unfinished job has its unique key.
pub async fn retry(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<Job> {
    let job = table::get_for_update(tx, id).await?.ok_or_else(|| Error::not_found("job"))?;
    let progress = match &job.progress {
        Some(text) => Progress::parse(text)?.again(),
        None => None,
    };
    let progress = progress.map(|p| p.to_text()).transpose()?;
    let queued = table::requeue(tx, id, progress.as_deref(), now).await.map_err(|error| {
        if dialect::is_unique_violation(&error, "jobs_unique_key") {
            return Error::conflict("another job of this kind is already under way").with_source(error);
        }
        error
    })?;
    if !queued {
        return Err(Error::conflict(format!(
            "only a failed or cancelled job can be retried, this one is {}",
            job.state.word()
        )));
    }
    get(tx, id).await
}

/// Drops up to `most` jobs that ended before `before`, with their output. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    table::prune(tx, before, most).await
}

/// How far behind the runners are.
///
/// # Errors
/// As the store.
pub async fn backlog(tx: &mut Tx, now: Timestamp) -> Result<Backlog> {
    table::backlog(tx, now).await
}

/// How many unfinished jobs there are of every kind.
///
/// # Errors
/// As the store.
pub async fn depths(tx: &mut Tx) -> Result<Vec<Depth>> {
    table::depths(tx).await
}

/// How many jobs failed since then.
///
/// # Errors
/// As the store.
pub async fn failed_since(tx: &mut Tx, since: Timestamp) -> Result<i64> {
    table::failed_since(tx, since).await
}

fn past(state: JobState) -> &'static str {
    match state {
        JobState::Queued | JobState::Running => "been begun",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "been cancelled",
    }
}
