//! Dropping executions by age: a job, so that one can see what it did and stop it. Its schedule is off by default.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Body, Failure, Running};
use reeve_store::{event as feed, execution as table};
use reeve_types::{Result, Timestamp};

use crate::{App, event};

/// Executions per transaction.
const BATCH: i64 = 1_000;

/// Drops executions that ended and are older than the configured age.
pub struct PruneExecutions;

impl Body<App> for PruneExecutions {
    const KIND: &'static str = "execution.prune";
    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);
    type Payload = ();

    async fn run(app: &Arc<App>, job: &Running, (): ()) -> Result<(), Failure> {
        // The age is measured once, so that the job has an end.
        let retention_ms = i64::try_from(app.config.execution_pruning.retention.as_millis()).unwrap_or(i64::MAX);
        let before = app.now().plus_ms(retention_ms.saturating_neg());
        job.output.line(&format!("dropping executions made before {}", before.rfc3339_secs()));
        let mut dropped = 0;
        loop {
            let batch = prune(app, before, BATCH).await?;
            dropped += batch as u64;
            job.meter.set(dropped, None);
            if batch < BATCH as usize || job.is_cancelled() {
                break;
            }
        }
        job.output.line(&format!("dropped {dropped}"));
        if job.is_cancelled() {
            return Err(Failure::Fail(reeve_types::Error::conflict("cancelled before the end")));
        }
        Ok(())
    }
}

/// Drops up to `most` executions that ended and were made before `before`, with an event each. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(app: &App, before: Timestamp, most: i64) -> Result<usize> {
    let mut tx = app.store.begin().await?;
    let ids = table::ended_before(&mut tx, before, most).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let rows = table::by_ids(&mut tx, &ids).await?;
    let events: Vec<_> = rows.iter().map(|e| event::of_execution(event::EXECUTION_PRUNED, e)).collect();
    table::delete_ended(&mut tx, &ids).await?;
    feed::append(&mut tx, &*app.ids, app.now(), &events).await?;
    tx.commit().await?;
    app.counters.executions_pruned.add(ids.len() as u64);
    Ok(ids.len())
}
