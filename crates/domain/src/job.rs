//! Jobs as people see them: look, follow, stop, try again. What the jobs do stands with the nouns they are about.

use std::sync::Arc;
use std::time::Duration;

mod health;

pub use health::{Health, health, measure};
pub use reeve_jobs::{Filter, StepView};
use reeve_store::Topic;
use reeve_types::job::{Job, JobState};
use reeve_types::{Actor, JobId, Page, Paged, Permission, Result};
use serde_json::json;
use tokio::sync::watch::Receiver;

use crate::{App, audit, authz};

/// Bytes of output in one answer or event.
const PIECE_BYTES: usize = 256 * 1024;
/// Jobs dropped per transaction.
const BATCH: i64 = 1_000;
/// A look at the store at least this often, in case a wake got lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Wakes within this time are answered by one look.
const CALM: Duration = Duration::from_millis(25);

/// A job with how its steps stand; plain jobs have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The job.
    pub job: Job,
    /// The steps of a saga, in order.
    pub steps: Vec<StepView>,
}

pub(crate) fn view(app: &App, job: Job) -> View {
    let names = app.registry.steps_of(&job.kind).unwrap_or_default();
    View { steps: reeve_jobs::steps(&job, &names), job }
}

/// A page of jobs, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, filter: &Filter, page: Page) -> Result<Paged<View>> {
    authz::require(actor, Permission::JobsRead)?;
    let mut tx = app.store.read().await?;
    Ok(reeve_jobs::list(&mut tx, filter, page).await?.map(|job| view(app, job)))
}

/// One job.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &JobId) -> Result<View> {
    authz::require(actor, Permission::JobsRead)?;
    let mut tx = app.store.read().await?;
    Ok(view(app, reeve_jobs::get(&mut tx, id).await?))
}

/// Stops a job: one that waits at once, one that runs as soon as it heeds it; a saga unwinds.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn cancel(app: &App, actor: &Actor, id: &JobId) -> Result<View> {
    authz::require(actor, Permission::JobsWrite)?;
    let mut tx = app.begin(actor).await?;
    let job = reeve_jobs::cancel(&mut tx, id, app.now()).await?;
    audit::record(app, &mut tx, actor, "job.cancel", id.as_str(), json!({"kind": job.kind})).await?;
    tx.commit().await?;
    Ok(view(app, job))
}

/// Queues a failed or cancelled job once more.
///
/// # Errors
/// NotFound; Conflict when it has not failed, or another of its kind is under way.
pub async fn retry(app: &App, actor: &Actor, id: &JobId) -> Result<View> {
    authz::require(actor, Permission::JobsWrite)?;
    let mut tx = app.begin(actor).await?;
    let job = reeve_jobs::retry(&mut tx, id, app.now()).await?;
    audit::record(app, &mut tx, actor, "job.retry", id.as_str(), json!({"kind": job.kind})).await?;
    tx.commit().await?;
    Ok(view(app, job))
}

/// A stretch of a job's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The text from the asked offset on; a dropped middle is a line that says so.
    pub text: String,
    /// Where to read on.
    pub next_offset: i64,
    /// Whether nothing more will come.
    pub complete: bool,
}

/// Output from byte `offset` on, about `most` bytes and never more than a quarter of a megabyte.
///
/// # Errors
/// NotFound.
pub async fn output(app: &App, actor: &Actor, id: &JobId, offset: i64, most: usize) -> Result<Output> {
    authz::require(actor, Permission::JobsRead)?;
    output_of(app, id, offset, most).await
}

/// As [`output`], for use cases that have authorized already.
pub(crate) async fn output_of(app: &App, id: &JobId, offset: i64, most: usize) -> Result<Output> {
    let mut tx = app.store.read().await?;
    let job = reeve_jobs::get(&mut tx, id).await?;
    let most = most.min(PIECE_BYTES);
    let page = reeve_jobs::read_output(&mut tx, id, offset, most).await?;
    let whole = page.text.len() < most;
    Ok(Output { text: page.text, next_offset: page.next_offset, complete: whole && job.state.is_final() })
}

/// What a follower gets to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A piece of output.
    Output {
        /// Bytes before it.
        offset: i64,
        /// Where to read on.
        next_offset: i64,
        /// The text.
        text: String,
    },
    /// The job changed.
    Job(Box<View>),
    /// The job has ended and all of its output was told.
    End(Box<View>),
}

/// A job being followed.
pub struct Follow {
    app: Arc<App>,
    id: JobId,
    wakes: Receiver<u64>,
    offset: i64,
    seen: Option<(JobState, i64, Option<String>, Option<i64>)>,
    ended: bool,
}

/// Follows a job: its output from `offset` on and how it stands, until it has ended.
///
/// # Errors
/// NotFound.
pub async fn follow(app: &Arc<App>, actor: &Actor, id: &JobId, offset: i64) -> Result<Follow> {
    authz::require(actor, Permission::JobsRead)?;
    follow_of(app, id, offset).await
}

/// As [`follow`], for use cases that have authorized already.
pub(crate) async fn follow_of(app: &Arc<App>, id: &JobId, offset: i64) -> Result<Follow> {
    let wakes = app.store.subscribe(Topic::Output);
    let mut tx = app.store.read().await?;
    reeve_jobs::get(&mut tx, id).await?;
    Ok(Follow { app: app.clone(), id: id.clone(), wakes, offset, seen: None, ended: false })
}

impl Follow {
    /// What comes next; waits for it. None after the end.
    ///
    /// # Errors
    /// NotFound when the job was dropped meanwhile; as the store.
    pub async fn next(&mut self) -> Result<Option<Progress>> {
        while !self.ended {
            self.wakes.borrow_and_update();
            if let Some(progress) = self.look().await? {
                return Ok(Some(progress));
            }
            // A look now and then, in case a wake got lost on its way from another server.
            if let Ok(Ok(())) = tokio::time::timeout(LOOK_EVERY, self.wakes.changed()).await {
                tokio::time::sleep(CALM).await;
            }
        }
        Ok(None)
    }

    async fn look(&mut self) -> Result<Option<Progress>> {
        let mut tx = self.app.store.read().await?;
        let job = reeve_jobs::get(&mut tx, &self.id).await?;
        let page = reeve_jobs::read_output(&mut tx, &self.id, self.offset, PIECE_BYTES).await?;
        drop(tx);
        if !page.text.is_empty() {
            let offset = std::mem::replace(&mut self.offset, page.next_offset);
            return Ok(Some(Progress::Output { offset, next_offset: page.next_offset, text: page.text }));
        }
        let stands = (job.state, job.attempts, job.progress.clone(), job.done);
        if job.state.is_final() {
            self.ended = true;
            return Ok(Some(Progress::End(Box::new(view(&self.app, job)))));
        }
        if self.seen.as_ref() != Some(&stands) {
            self.seen = Some(stands);
            return Ok(Some(Progress::Job(Box::new(view(&self.app, job)))));
        }
        Ok(None)
    }
}

/// Drops jobs that ended longer ago than configured, with their output. Called by its schedule.
///
/// # Errors
/// As the store. What was dropped until then stays dropped.
pub async fn prune(app: &App) -> Result<()> {
    let retention_ms = i64::try_from(app.config.job_retention.as_millis()).unwrap_or(i64::MAX);
    let before = app.now().plus_ms(retention_ms.saturating_neg());
    loop {
        let mut tx = app.store.begin().await?;
        let dropped = reeve_jobs::prune(&mut tx, before, BATCH).await?;
        tx.commit().await?;
        if dropped < BATCH as u64 {
            return Ok(());
        }
    }
}
