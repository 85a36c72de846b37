//! This server's own numbers. What it does not have is None, and what it does not do yet is 0.

use reeve_store::{admin_cluster, job};
use reeve_types::{Actor, Permission, Result, Timestamp};

pub use reeve_store::job::Tally;

use crate::process::{self, Process};
use crate::{App, authz};

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
    /// Edge clusters that are assigned to this server.
    pub clusters: u64,
    /// Edge clusters for which no server of its group has room.
    pub orphans: u64,
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
    let shares = admin_cluster::shares(&mut tx, &app.config.admin_cluster_name()).await?;
    let owned_by = |owner: Option<&_>| shares.iter().filter(|share| share.server.as_ref() == owner).count() as u64;
    let jobs = job::tally(&mut tx, now, now.plus_ms(-ENDED_SINCE_MS)).await?;
    let recurring = app.registry.status();
    Ok(AdminMetrics {
        taken_at: now,
        uptime_ms: now.ms_since(app.started_at).max(0),
        process: process::this(),
        agents: app.agents().connected_count(),
        degraded: app.is_degraded(),
        clusters: owned_by(Some(&app.server_id)),
        orphans: owned_by(None),
        jobs,
        passes: recurring.iter().map(|status| status.passes).sum(),
        failed_passes: recurring.iter().map(|status| status.failures).sum(),
    })
}
