//! The runner: what a server starts to do its share of the work, and tests to do all that is due.

use std::sync::Arc;
use std::time::Duration;

use reeve_store::{Store, job as table, schedule as schedules};
use reeve_types::id::Ids;
use reeve_types::{Clock, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::reconcile::{Pokes, ReconcilerStatus};
use crate::registry::{Env, Registry};

/// How a runner works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose leases are taken, as the server's id; a word of its own is added for every start.
    pub name: String,
    /// Jobs at the same time.
    pub workers: usize,
    /// After this long without a heartbeat another runner takes a job over.
    pub lease: Duration,
    /// The first pause before a job is tried again; it doubles each time.
    pub backoff_first: Duration,
    /// The longest of these pauses.
    pub backoff_most: Duration,
    /// How long a cancelled body may take to return before it is dropped.
    pub cancel_grace: Duration,
    /// No other server is on this store, so whatever is leased when this one starts was left behind by a crash.
    pub alone: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::new(),
            workers: 128,
            lease: Duration::from_secs(15),
            backoff_first: Duration::from_secs(1),
            backoff_most: Duration::from_secs(600),
            cancel_grace: Duration::from_secs(10),
            alone: false,
        }
    }
}

/// Does the work that is due on a store.
pub struct Runner<C> {
    core: Core<C>,
}

impl<C: Send + Sync + 'static> Runner<C> {
    /// A runner that has not begun.
    pub fn new(
        ctx: Arc<C>,
        registry: impl Into<Arc<Registry<C>>>,
        store: Store,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: Options,
    ) -> Self {
        let owner = if options.name.is_empty() { ids.next() } else { format!("{}/{}", options.name, ids.next()) };
        let registry = registry.into();
        let faults = registry.faults.clone();
        let env = Env { store, clock, ids, owner, options, faults, dirty: Arc::new(Notify::new()) };
        Self { core: Core::new(ctx, registry, Arc::new(env)) }
    }

    /// Begins to work in the background.
    pub fn start(self) -> RunnerHandle {
        let (registry, env, ctx) = (self.core.registry.clone(), self.core.env.clone(), self.core.ctx.clone());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for index in 0..registry.schedules.len() {
            let (registry, env, ctx, stop) = (registry.clone(), env.clone(), ctx.clone(), stop.clone());
            tasks.spawn(async move { registry.schedules[index].keep(&ctx, &env, &stop).await });
        }
        for index in 0..registry.reconcilers.len() {
            let (registry, env, ctx, stop) = (registry.clone(), env.clone(), ctx.clone(), stop.clone());
            tasks.spawn(async move { registry.reconcilers[index].run(&ctx, &env, &stop).await });
        }
        let mut core = self.core;
        let core_stop = stop.clone();
        tasks.spawn(async move { core.serve(&core_stop).await });
        let pokes = registry.pokes();
        let status = {
            let registry = registry.clone();
            move || registry.status()
        };
        RunnerHandle { tasks, stop, env, pokes, status: Arc::new(status) }
    }

    /// Does everything that is due at the clock's now, and what follows from it at once; then returns.
    ///
    /// # Errors
    /// As the store.
    pub async fn run_until_idle(&mut self) -> Result<()> {
        loop {
            let mut did = self.core.drain().await?;
            let (registry, env, ctx) = (self.core.registry.clone(), self.core.env.clone(), self.core.ctx.clone());
            for schedule in &registry.schedules {
                did |= schedule.tick_if_due(&ctx, &env).await;
            }
            for reconciler in &registry.reconcilers {
                did |= reconciler.pass_if_due(&ctx, &env).await;
            }
            if !did {
                return Ok(());
            }
        }
    }

    /// How the reconcilers and schedules are doing.
    pub fn status(&self) -> Vec<ReconcilerStatus> {
        self.core.registry.status()
    }
}

type StatusOf = Arc<dyn Fn() -> Vec<ReconcilerStatus> + Send + Sync>;

/// A runner at work. Dropping it stops everything at once, as a crash would.
pub struct RunnerHandle {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    env: Arc<Env>,
    pokes: Pokes,
    status: StatusOf,
}

impl RunnerHandle {
    /// Asks a reconciler of this process for a pass. False for an unknown name.
    pub fn poke(&self, name: &str) -> bool {
        self.pokes.poke(name)
    }

    /// How the reconcilers and schedules of this process are doing, for `reeve doctor` and metrics.
    pub fn status(&self) -> Vec<ReconcilerStatus> {
        (self.status)()
    }

    /// Claims nothing more, waits up to `patience` for what runs, drops the rest and gives its leases back.
    ///
    /// # Errors
    /// As the store; the leases then pass by themselves.
    pub async fn shutdown(mut self, patience: Duration) -> Result<()> {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::info!("some jobs did not end in time; they go on after the next start");
            self.tasks.shutdown().await;
        }
        let mut tx = self.env.store.begin().await?;
        table::release(&mut tx, &self.env.owner).await?;
        schedules::release(&mut tx, &self.env.owner).await?;
        tx.commit().await
    }
}
