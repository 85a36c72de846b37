//! Rows of asynchronous work: put in, claimed by lease, ended in batches.
//!
//! A lease belongs to one runner (`owner`, unique per start of a runner). Every write of a runner names its owner, so a
//! runner that lost a lease changes nothing. Only running jobs have an owner; what is found by id asks for the owner alone,
//! for a condition on the state leads PostgreSQL to the index of all leases.

use reeve_types::job::{Job, JobState};
use reeve_types::{JobId, Page, Paged, Result, ServerId, TextMatch, Timestamp};

use crate::filter::{Order, Where, page};
use crate::{Row, Topic, Tx, Value, args, dialect};

const COLUMNS: &str = "id, kind, payload, subject, unique_key, state, progress, done, total, attempts, run_at, cancel_requested, \
    error, requested_by, inserted_at, started_at, finished_at";

/// What a list of jobs is narrowed by.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these states; empty is all.
    pub states: Vec<JobState>,
    /// Only these kinds.
    pub kind: Option<TextMatch>,
    /// Only what is about this.
    pub subject: Option<TextMatch>,
}

/// How one run of a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which job.
    pub id: JobId,
    /// A final state, or Queued to run again.
    pub state: JobState,
    /// For Queued: not before this instant.
    pub run_at: Option<Timestamp>,
    /// What went wrong, safe to show.
    pub error: Option<String>,
    /// What the saga has got done; None leaves what is stored.
    pub progress: Option<String>,
}

/// Inserts queued jobs. Says which rows went in: one that shares its unique key with an unfinished job does not.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, jobs: &[Job]) -> Result<u64> {
    let rows: Vec<Vec<Value<'_>>> = jobs
        .iter()
        .map(|job| {
            let unique_key = job.unique_key.as_deref();
            vec![
                (&job.id).into(),
                (&job.kind).into(),
                (&job.payload).into(),
                (&job.subject).into(),
                unique_key.into(),
                job.state.into(),
                job.run_at.into(),
                (&job.requested_by).into(),
                job.inserted_at.into(),
            ]
        })
        .collect();
    let into = "jobs (id, kind, payload, subject, unique_key, state, run_at, requested_by, inserted_at)";
    let tail = "ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL DO NOTHING";
    let inserted = tx.insert_many(into, &rows, tail).await?;
    tx.wake(Topic::Jobs);
    Ok(inserted)
}

/// The unfinished job with this unique key.
///
/// # Errors
/// As the store.
pub async fn by_unique_key(tx: &mut Tx, key: &str) -> Result<Option<JobId>> {
    let sql = "SELECT id FROM jobs WHERE unique_key = $1 AND finished_at IS NULL";
    tx.opt(sql, args![key]).await?.map(|mut row| row.get()).transpose()
}

/// One job.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &JobId) -> Result<Option<Job>> {
    let row = tx.opt(&format!("SELECT {COLUMNS} FROM jobs WHERE id = $1"), args![id]).await?;
    row.map(read).transpose()
}

/// One job, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn get_for_update(tx: &mut Tx, id: &JobId) -> Result<Option<Job>> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of jobs, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &Filter, asked: Page) -> Result<Paged<Job>> {
    let mut w = Where::new();
    w.any_of("state", filter.states.iter().copied());
    w.text("kind", &filter.kind);
    w.text("subject", &filter.subject);
    if filter.subject.is_some() {
        // Leads PostgreSQL to the partial index.
        w.raw("subject <> ''");
    }
    // Ids are made in the order of time.
    let (rows, total) = page(tx, COLUMNS, "jobs", "jobs", w, &Order::by("id", true), asked).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: asked })
}

/// What a runner claims by.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The runner.
    pub owner: &'a str,
    /// JSON array of the kinds it can run.
    pub kinds: &'a str,
    /// Now.
    pub now: Timestamp,
    /// End of the lease.
    pub until: Timestamp,
    /// Rows at the most.
    pub most: i64,
}

/// Leases jobs that are due, in the order of their time.
///
/// # Errors
/// As the store.
pub async fn claim(tx: &mut Tx, claim: Claim<'_>) -> Result<Vec<Job>> {
    let kinds = dialect::json_texts(tx, "$4");
    let due = format!(
        "SELECT id FROM jobs WHERE state = 'queued' AND run_at <= $3 AND {OF_KIND} IN ({kinds})
         ORDER BY run_at, id LIMIT $5{}",
        dialect::skip_locked(tx)
    );
    lease(tx, &due, claim).await
}

/// The kind, for the databases not an indexed column: they would go through every job of a kind that ever was, instead
/// of the few that are due.
const OF_KIND: &str = "(kind || '')";

/// Leases jobs whose runner let its lease pass. Prolong the owner's own leases first.
///
/// # Errors
/// As the store.
pub async fn take_over(tx: &mut Tx, claim: Claim<'_>) -> Result<Vec<Job>> {
    let kinds = dialect::json_texts(tx, "$4");
    let due = format!(
        "SELECT id FROM jobs WHERE state = 'running' AND lease_until < $3 AND {OF_KIND} IN ({kinds})
         ORDER BY lease_until LIMIT $5{}",
        dialect::skip_locked(tx)
    );
    lease(tx, &due, claim).await
}

async fn lease(tx: &mut Tx, due: &str, claim: Claim<'_>) -> Result<Vec<Job>> {
    let sql = format!(
        "WITH due AS MATERIALIZED ({due})
         UPDATE jobs SET state = 'running', lease_owner = $1, lease_until = $2, attempts = attempts + 1,
           started_at = coalesce(started_at, $3)
         WHERE id IN (SELECT id FROM due) RETURNING {COLUMNS}"
    );
    let rows = tx.all(&sql, args![claim.owner, claim.until, claim.now, claim.kinds, claim.most]).await?;
    let mut jobs = rows.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    jobs.sort_by(|a, b| (a.run_at, &a.id).cmp(&(b.run_at, &b.id)));
    Ok(jobs)
}

/// The next instant at which a queued job becomes due.
///
/// # Errors
/// As the store.
pub async fn next_due(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>> {
    tx.one("SELECT min(run_at) FROM jobs WHERE state = 'queued' AND run_at > $1", args![now]).await?.get()
}

/// Prolongs the owner's leases on `ids` (a JSON array). Gives back those it still holds.
///
/// # Errors
/// As the store.
pub async fn heartbeat(tx: &mut Tx, owner: &str, ids: &str, until: Timestamp) -> Result<Vec<JobId>> {
    let these = dialect::json_texts(tx, "$3");
    let sql = format!("UPDATE jobs SET lease_until = $2 WHERE lease_owner = $1 AND id IN ({these}) RETURNING id");
    tx.all(&sql, args![owner, until, ids]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Jobs of this owner that somebody asked to stop.
///
/// # Errors
/// As the store.
pub async fn cancelling(tx: &mut Tx, owner: &str) -> Result<Vec<JobId>> {
    let sql = "SELECT id FROM jobs WHERE cancel_requested = 1 AND state = 'running' AND lease_owner = $1";
    tx.all(sql, args![owner]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Stores what a saga has got done. False when the owner has lost the lease.
///
/// # Errors
/// As the store.
pub async fn set_progress(tx: &mut Tx, owner: &str, id: &JobId, progress: &str) -> Result<bool> {
    let sql = "UPDATE jobs SET progress = $3 WHERE id = $1 AND lease_owner = $2";
    Ok(tx.execute(sql, args![id, owner, progress]).await? == 1)
}

/// Stores how far a plain job says it has got. Nothing happens when the owner has lost the lease.
///
/// # Errors
/// As the store.
pub async fn set_reported(tx: &mut Tx, owner: &str, id: &JobId, done: i64, total: Option<i64>) -> Result<()> {
    let sql = "UPDATE jobs SET done = $3, total = $4 WHERE id = $1 AND lease_owner = $2";
    tx.wake(Topic::Output);
    tx.execute(sql, args![id, owner, done, total]).await.map(|_| ())
}

/// Whether the owner holds the lease on a job; if so, nobody takes it until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn holds(tx: &mut Tx, owner: &str, id: &JobId) -> Result<bool> {
    let sql = format!("SELECT id FROM jobs WHERE id = $1 AND lease_owner = $2{}", dialect::for_update(tx));
    Ok(tx.opt(&sql, args![id, owner]).await?.is_some())
}

/// Ends runs of this owner, the plain successes with one statement. Runs it no longer holds are left alone.
///
/// # Errors
/// As the store.
pub async fn end(tx: &mut Tx, owner: &str, now: Timestamp, ended: &[Ended]) -> Result<()> {
    let is_plain = |e: &&Ended| e.state == JobState::Succeeded && e.progress.is_none();
    let plain: Vec<&str> = ended.iter().filter(is_plain).map(|e| e.id.as_str()).collect();
    if !plain.is_empty() {
        let these = dialect::json_texts(tx, "$3");
        let sql = format!(
            "UPDATE jobs SET state = 'succeeded', finished_at = $2, error = NULL, lease_owner = NULL, lease_until = NULL
             WHERE lease_owner = $1 AND id IN ({these})"
        );
        let ids = serde_json::to_string(&plain).map_err(reeve_types::Error::internal)?;
        tx.execute(&sql, args![owner, now, ids]).await?;
    }
    for e in ended.iter().filter(|e| !is_plain(e)) {
        let sql = "UPDATE jobs SET state = $3, finished_at = $4, run_at = coalesce($5, run_at), error = $6,
              progress = coalesce($7, progress), lease_owner = NULL, lease_until = NULL
            WHERE id = $1 AND lease_owner = $2";
        let finished_at = e.state.is_final().then_some(now);
        let (error, progress) = (e.error.as_deref(), e.progress.as_deref());
        tx.execute(sql, args![&e.id, owner, e.state, finished_at, e.run_at, error, progress]).await?;
    }
    Ok(())
}

/// Gives back jobs that were claimed but not begun, or stopped without a result.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, owner: &str) -> Result<u64> {
    let sql = "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until = NULL
        WHERE state = 'running' AND lease_owner = $1";
    tx.wake(Topic::Jobs);
    tx.execute(sql, args![owner]).await
}

/// Gives back the leases of a server that is gone. An owner is `SERVER/RUN`.
///
/// # Errors
/// As the store.
pub async fn release_of(tx: &mut Tx, server: &ServerId) -> Result<u64> {
    let prefix = format!("{server}/");
    let sql = format!(
        "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until = NULL
         WHERE state = 'running' AND substr(lease_owner, 1, {}) = $1",
        prefix.chars().count()
    );
    tx.wake(Topic::Jobs);
    tx.execute(&sql, args![&prefix]).await
}

/// Gives back what every runner left behind. Only for the start of a server that is alone on its store.
///
/// # Errors
/// As the store.
pub async fn release_all(tx: &mut Tx) -> Result<u64> {
    let sql = "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until = NULL WHERE state = 'running'";
    tx.wake(Topic::Jobs);
    tx.execute(sql, &[]).await
}

/// Ends a queued job that has not done anything yet as cancelled. False when it is in another state.
///
/// # Errors
/// As the store.
pub async fn cancel_queued(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE jobs SET state = 'cancelled', cancel_requested = 1, finished_at = $2
        WHERE id = $1 AND state = 'queued' AND attempts = 0 AND progress IS NULL";
    tx.wake(Topic::Output);
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Asks an unfinished job to stop; one that waits to be retried is looked at now. False when it has ended.
///
/// # Errors
/// As the store.
pub async fn request_cancel(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE jobs SET cancel_requested = 1, run_at = CASE WHEN state = 'queued' THEN $2 ELSE run_at END
        WHERE id = $1 AND finished_at IS NULL";
    tx.wake(Topic::Jobs);
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Makes a queued job due now.
///
/// # Errors
/// As the store.
pub async fn hurry(tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE jobs SET run_at = $2 WHERE id = $1 AND state = 'queued' AND run_at > $2";
    tx.wake(Topic::Jobs);
    tx.execute(sql, args![id, now]).await.map(|_| ())
}

/// Queues a failed or cancelled job once more. False when it is in another state.
///
/// # Errors
/// As the store; a unique violation of `jobs_unique_key` when an unfinished job has its key.
pub async fn requeue(tx: &mut Tx, id: &JobId, progress: Option<&str>, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE jobs SET state = 'queued', attempts = 0, run_at = $2, cancel_requested = 0, error = NULL,
          finished_at = NULL, progress = $3
        WHERE id = $1 AND state IN ('failed', 'cancelled')";
    tx.wake(Topic::Jobs);
    Ok(tx.execute(sql, args![id, now, progress]).await? == 1)
}

/// Drops up to `most` jobs that ended before `before`, with their output. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE finished_at IS NOT NULL AND finished_at < $1
        ORDER BY finished_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}

/// How far behind the runners are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Jobs that are due and wait, counted up to 10,000.
    pub waiting: i64,
    /// When the longest waiting of them became due.
    pub oldest_at: Option<Timestamp>,
}

/// Jobs that are due and not claimed.
///
/// # Errors
/// As the store.
pub async fn backlog(tx: &mut Tx, now: Timestamp) -> Result<Backlog> {
    let sql = "SELECT count(*), min(run_at) FROM
        (SELECT run_at FROM jobs WHERE state = 'queued' AND run_at <= $1 ORDER BY run_at LIMIT 10000) AS due";
    let mut row = tx.one(sql, args![now]).await?;
    Ok(Backlog { waiting: row.get()?, oldest_at: row.get()? })
}

/// The jobs of one kind, counted up to 100,000 in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The kind.
    pub kind: String,
    /// Due and waiting for the first time.
    pub waiting: i64,
    /// Waiting for their time.
    pub scheduled: i64,
    /// Waiting to be tried again.
    pub retrying: i64,
    /// Running.
    pub running: i64,
    /// Ended well since the given instant.
    pub succeeded: i64,
    /// Given up since then.
    pub failed: i64,
    /// Cancelled since then.
    pub cancelled: i64,
}

/// The open jobs, and those that ended since `since`, by kind.
///
/// # Errors
/// As the store.
pub async fn tally(tx: &mut Tx, now: Timestamp, since: Timestamp) -> Result<Vec<Tally>> {
    let sql = "SELECT kind,
          sum(CASE WHEN state = 'queued' AND attempts = 0 AND run_at <= $1 THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'queued' AND attempts = 0 AND run_at > $1 THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'queued' AND attempts > 0 THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'running' THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END),
          sum(CASE WHEN state = 'cancelled' THEN 1 ELSE 0 END)
        FROM (SELECT kind, state, attempts, run_at FROM jobs WHERE state = 'queued'
          UNION ALL SELECT kind, state, attempts, run_at FROM jobs WHERE state = 'running'
          UNION ALL SELECT kind, state, attempts, run_at FROM jobs WHERE finished_at IS NOT NULL AND finished_at >= $2 LIMIT 100000) AS counted
        GROUP BY kind ORDER BY kind";
    let rows = tx.all(sql, args![now, since]).await?;
    let read = |mut row: Row| {
        Ok(Tally {
            kind: row.get()?,
            waiting: row.get()?,
            scheduled: row.get()?,
            retrying: row.get()?,
            running: row.get()?,
            succeeded: row.get()?,
            failed: row.get()?,
            cancelled: row.get()?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Unfinished jobs of one kind in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Queued or Running.
    pub state: JobState,
    /// Which kind.
    pub kind: String,
    /// How many.
    pub count: i64,
}

/// How many unfinished jobs there are of every kind, the first 100,000 of each state.
///
/// # Errors
/// As the store.
pub async fn depths(tx: &mut Tx) -> Result<Vec<Depth>> {
    let mut depths = Vec::new();
    for state in [JobState::Queued, JobState::Running] {
        // The state stands in the text so that both databases find its partial index.
        let sql = format!(
            "SELECT kind, count(*) FROM (SELECT kind FROM jobs WHERE state = '{}' LIMIT 100000) AS open GROUP BY kind",
            state.word()
        );
        for mut row in tx.all(&sql, &[]).await? {
            depths.push(Depth { state, kind: row.get()?, count: row.get()? });
        }
    }
    Ok(depths)
}

/// How many jobs failed since then.
///
/// # Errors
/// As the store.
pub async fn failed_since(tx: &mut Tx, since: Timestamp) -> Result<i64> {
    let sql = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL AND finished_at >= $1 AND state = 'failed'";
    tx.one(sql, args![since]).await?.get()
}

fn read(mut row: Row) -> Result<Job> {
    Ok(Job {
        id: row.get()?,
        kind: row.get()?,
        payload: row.get()?,
        subject: row.get()?,
        unique_key: row.get()?,
        state: row.get()?,
        progress: row.get()?,
        done: row.get()?,
        total: row.get()?,
        attempts: row.get()?,
        run_at: row.get()?,
        cancel_requested: row.get()?,
        error: row.get()?,
        requested_by: row.get()?,
        inserted_at: row.get()?,
        started_at: row.get()?,
        finished_at: row.get()?,
    })
}
