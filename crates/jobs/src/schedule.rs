//! Schedules: recurring work whose every tick is done by one of the servers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reeve_store::schedule as table;
use reeve_types::{Error, Result, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::enqueue::{NewJob, enqueue};
use crate::reconcile::{ReconcilerStatus, Status};
use crate::registry::Env;
use crate::wait;

/// One turn of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it was due.
    pub due_at: Timestamp,
}

type Enqueue = Box<dyn Fn(Tick) -> Result<NewJob> + Send + Sync>;
type Inline<C> = Box<dyn Fn(Arc<C>) -> BoxFuture<'static, Result<()>> + Send + Sync>;

enum Work<C> {
    Enqueue(Enqueue),
    Inline(Inline<C>),
}

/// Recurring work. Ticks that were missed while no server ran are made up for by one.
pub struct Schedule<C> {
    name: &'static str,
    every: Duration,
    jitter_percent: u32,
    work: Work<C>,
    status: Status,
    /// Not worth a look before. Held during a tick, so there are never two.
    next_at: tokio::sync::Mutex<Option<Timestamp>>,
}

impl<C: Send + Sync + 'static> Schedule<C> {
    /// Puts a job in at every tick, in the transaction that claims the tick: exactly once.
    pub fn enqueue(
        name: &'static str,
        every: Duration,
        job: impl Fn(Tick) -> Result<NewJob> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, every, Work::Enqueue(Box::new(job)))
    }

    /// Does something small at every tick, at most once: a tick is claimed first, and lost when the server dies in it.
    pub fn run<F>(name: &'static str, every: Duration, work: impl Fn(Arc<C>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(name, every, Work::Inline(Box::new(move |ctx| Box::pin(work(ctx)))))
    }

    /// Moves every tick by up to this share of the period, 5 unless said otherwise.
    pub fn with_jitter_percent(mut self, percent: u32) -> Self {
        self.jitter_percent = percent;
        self
    }

    fn new(name: &'static str, every: Duration, work: Work<C>) -> Self {
        let (status, next_at) = (Status::new(name), tokio::sync::Mutex::new(None));
        Self { name, every, jitter_percent: 5, work, status, next_at }
    }

    pub(crate) fn status(&self) -> ReconcilerStatus {
        self.status.lock().clone()
    }

    /// Does the tick if it is due and no other server has it. Says whether it did.
    pub(crate) async fn tick_if_due(&self, ctx: &Arc<C>, env: &Env) -> bool {
        let mut next_at = self.next_at.lock().await;
        if next_at.is_some_and(|at| at > env.clock.now()) {
            return false;
        }
        let claimed = match self.claim(env, &mut next_at).await {
            Ok(claimed) => claimed,
            Err(error) => {
                // A store that is away is asked again soon.
                *next_at = Some(wait::after(env.clock.now(), env.options.backoff_first));
                self.end(env, Err(error));
                return false;
            }
        };
        if !claimed {
            return false;
        }
        self.status.begin();
        let result = match &self.work {
            Work::Enqueue(_) => Ok(()),
            Work::Inline(work) => {
                let done = AssertUnwindSafe(work(ctx.clone())).catch_unwind().await;
                done.unwrap_or_else(|_| Err(Error::internal("it panicked")))
            }
        };
        self.end(env, result);
        true
    }

    async fn claim(&self, env: &Env, next_at: &mut Option<Timestamp>) -> Result<bool> {
        let now = env.clock.now();
        let following = wait::after(now, wait::jittered(&*env.ids, self.every, self.jitter_percent));
        let mut tx = env.store.begin().await?;
        let Some(due_at) = table::next_at(&mut tx, self.name).await? else {
            table::ensure(&mut tx, self.name, following).await?;
            tx.commit().await?;
            *next_at = None;
            // Another server may have been first, with another instant.
            let mut tx = env.store.read().await?;
            *next_at = table::next_at(&mut tx, self.name).await?;
            return Ok(false);
        };
        if due_at > now {
            *next_at = Some(due_at);
            return Ok(false);
        }
        if !table::advance(&mut tx, self.name, due_at, following, now).await? {
            *next_at = None;
            return Ok(false);
        }
        if let Work::Enqueue(job) = &self.work {
            enqueue(&mut tx, now, &*env.ids, job(Tick { due_at })?).await?;
        }
        tx.commit().await?;
        *next_at = Some(following);
        Ok(true)
    }

    fn end(&self, env: &Env, result: Result<()>) {
        if let Err(error) = &result {
            let source = error.source.as_ref().map(|source| source.to_string()).unwrap_or_default();
            tracing::warn!(schedule = self.name, %error, source, "a tick failed");
        }
        self.status.end(env, result);
    }

    /// Ticks whenever it is time, until `stop`.
    pub(crate) async fn keep(&self, ctx: &Arc<C>, env: &Env, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.tick_if_due(ctx, env) => {}
            }
            let at = self.next_at.lock().await.unwrap_or(env.clock.now());
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait::until(&env.clock, at) => {}
            }
        }
    }
}
