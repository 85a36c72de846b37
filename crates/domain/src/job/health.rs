//! How the runner is doing, for `reeve doctor` and `/metrics`.

use reeve_jobs::Depth;
use reeve_types::Result;
use reeve_types::job::JobState;

use crate::App;

/// Failed jobs are counted this far back.
const LATELY_MS: i64 = 24 * 3600 * 1000;

/// How far behind the work is, and what does not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Unfinished jobs by state and kind.
    pub depths: Vec<Depth>,
    /// How long the longest waiting job that is due has waited.
    pub oldest_waiting_ms: i64,
    /// Jobs that failed within a day.
    pub failed: i64,
    /// Reconcilers and schedules of this process whose last turn failed, with why.
    pub failing: Vec<(&'static str, String)>,
}

impl Health {
    /// Unfinished jobs in `state`.
    pub fn count(&self, state: JobState) -> i64 {
        self.depths.iter().filter(|depth| depth.state == state).map(|depth| depth.count).sum()
    }
}

/// Looks at queue, reconcilers and schedules.
///
/// # Errors
/// As the store.
pub async fn health(app: &App) -> Result<Health> {
    let now = app.now();
    let mut tx = app.store.read().await?;
    let depths = reeve_jobs::depths(&mut tx).await?;
    let oldest_at = reeve_jobs::backlog(&mut tx, now).await?.oldest_at;
    let failed = reeve_jobs::failed_since(&mut tx, now.plus_ms(-LATELY_MS)).await?;
    let failing = app.registry.status().into_iter().filter_map(|s| s.last_error.map(|error| (s.name, error))).collect();
    Ok(Health { depths, oldest_waiting_ms: oldest_at.map_or(0, |at| now.ms_since(at)), failed, failing })
}

/// Sets the gauges. Called by its loop.
///
/// # Errors
/// As the store.
pub async fn measure(app: &App) -> Result<()> {
    let health = health(app).await?;
    for kind in app.registry.kinds() {
        for state in [JobState::Queued, JobState::Running] {
            let depth = health.depths.iter().find(|depth| depth.state == state && depth.kind == kind);
            let count = depth.map_or(0, |depth| depth.count);
            metrics::gauge!("reeve_jobs", "state" => state.word(), "kind" => kind).set(count as f64);
        }
    }
    metrics::gauge!("reeve_jobs_oldest_waiting_seconds").set(health.oldest_waiting_ms as f64 / 1000.0);
    metrics::gauge!("reeve_jobs_failed_last_day").set(health.failed as f64);
    let now = app.now();
    for status in app.registry.status() {
        if let Some(at) = status.last_success_at {
            let age = now.ms_since(at) as f64 / 1000.0;
            metrics::gauge!("reeve_recurring_last_success_age_seconds", "name" => status.name).set(age);
        }
        metrics::counter!("reeve_recurring_turns_total", "name" => status.name).absolute(status.passes);
        metrics::counter!("reeve_recurring_failures_total", "name" => status.name).absolute(status.failures);
    }
    Ok(())
}
