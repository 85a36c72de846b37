//! This server's own numbers. What it does not have is None, and what it does not do yet is 0.

use reeve_store::{cluster, job, server};
use reeve_types::{Actor, Permission, Result, Timestamp};

pub use reeve_store::job::Tally;

use crate::process::{self, Process};
use crate::{App, authz};

/// A server that was not seen for this long has gone.
const GONE_AFTER_MS: i64 = 60_000;
/// Jobs that ended longer ago are not counted.
const ENDED_SINCE_MS: i64 = 24 * 3600 * 1000;

/// What cannot be read from [`crate::counters::Counters`].
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    /// When this was looked up.
    pub taken_at: Timestamp,
    /// Since the server's start.
    pub uptime_ms: i64,
    /// Its process.
    pub process: Process,
    /// Agents connected here.
    pub agents: usize,
    /// Whether there are more nodes than capacity.
    pub degraded: bool,
    /// Clusters this server looks after; None when it shares them with others.
    pub clusters: Option<i64>,
    /// Jobs by kind.
    pub jobs: Vec<Tally>,
    /// Passes and ticks of what recurs, in this process.
    pub passes: u64,
    /// Those that failed.
    pub failed_passes: u64,
}

/// This server's numbers.
///
/// # Errors
/// As the store.
pub async fn me(app: &App, actor: &Actor) -> Result<AdminMetrics> {
    authz::require(actor, Permission::MetricsRead)?;
    let now = app.now();
    let mut tx = app.store.read().await?;
    let alive = server::alive(&mut tx, now.plus_ms(-GONE_AFTER_MS)).await?;
    let alone = alive.iter().all(|id| *id == app.server_id);
    let clusters = if alone { Some(cluster::count(&mut tx).await?) } else { None };
    let jobs = job::tally(&mut tx, now, now.plus_ms(-ENDED_SINCE_MS)).await?;
    let recurring = app.registry.status();
    Ok(AdminMetrics {
        taken_at: now,
        uptime_ms: now.ms_since(app.started_at).max(0),
        process: process::this(),
        agents: app.agents().connected_count(),
        degraded: app.is_degraded(),
        clusters,
        jobs,
        passes: recurring.iter().map(|status| status.passes).sum(),
        failed_passes: recurring.iter().map(|status| status.failures).sum(),
    })
}
