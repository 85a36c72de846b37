//! Schedules: recurring work whose every tick is done by one of the servers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reeve_store::{Topic, schedule as table};
use reeve_types::{Error, Result, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cron::Cron;
use crate::enqueue::{NewJob, enqueue};
use crate::reconcile::{ReconcilerStatus, Recurs, Status, every as in_words, news};
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

/// When ticks come.
enum Rhythm {
    /// From one tick to the next, give or take a share in percent.
    Every(Duration, u32),
    Cron(Box<Cron>),
}

impl Rhythm {
    fn after(&self, now: Timestamp, env: &Env) -> Timestamp {
        match self {
            Self::Every(every, jitter_percent) => wait::after(now, wait::jittered(&*env.ids, *every, *jitter_percent)),
            Self::Cron(cron) => cron.after(now).unwrap_or(Timestamp(i64::MAX)),
        }
    }

    /// No tick is further away.
    fn latest(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Every(every, jitter_percent) => {
                wait::after(now, every.mul_f64(1.0 + f64::from(*jitter_percent) / 100.0))
            }
            Self::Cron(cron) => cron.after(now).unwrap_or(Timestamp(i64::MAX)),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Every(every, _) => in_words(*every),
            Self::Cron(cron) => cron.as_str().to_owned(),
        }
    }
}

/// Recurring work. Ticks that were missed while no server ran are made up for by one.
pub struct Schedule<C> {
    name: &'static str,
    rhythm: Rhythm,
    off: bool,
    work: Work<C>,
    status: Status,
    /// Not worth a look before. Held during a tick, so there are never two.
    next: tokio::sync::Mutex<Next>,
}

#[derive(Default)]
struct Next {
    at: Option<Timestamp>,
    asked: Option<watch::Receiver<u64>>,
    /// The stored tick was held against the rhythm, which may have changed since it was stored.
    checked: bool,
}

impl Next {
    fn asked(&mut self, env: &Env) -> &mut watch::Receiver<u64> {
        self.asked.get_or_insert_with(|| env.store.subscribe(Topic::Schedules))
    }
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
        if let Rhythm::Every(_, jitter_percent) = &mut self.rhythm {
            *jitter_percent = percent;
        }
        self
    }

    /// Ticks by a cron pattern instead of a period.
    pub fn by_cron(mut self, cron: Cron) -> Self {
        self.rhythm = Rhythm::Cron(Box::new(cron));
        self.status.lock().rhythm = self.rhythm.words();
        self
    }

    /// Is listed, and never ticks.
    pub fn off_if(mut self, off: bool) -> Self {
        self.off = off;
        self.status.lock().off = off;
        self
    }

    fn new(name: &'static str, every: Duration, work: Work<C>) -> Self {
        let rhythm = Rhythm::Every(every, 5);
        let status = Status::of(name, Recurs::Schedule, rhythm.words(), true);
        Self { name, rhythm, off: false, work, status, next: tokio::sync::Mutex::default() }
    }

    pub(crate) fn status(&self) -> ReconcilerStatus {
        self.status.lock().clone()
    }

    /// Does the tick if it is due and no other server has it. Says whether it did.
    pub(crate) async fn tick_if_due(&self, ctx: &Arc<C>, env: &Env) -> bool {
        let mut next = self.next.lock().await;
        if self.off {
            return false;
        }
        let asked = next.asked(env);
        if asked.has_changed().unwrap_or(false) {
            asked.borrow_and_update();
            next.at = None;
        }
        let now = env.clock.now();
        if next.at.is_some_and(|at| at > self.rhythm.latest(now)) {
            // The clock was set back: what is stored may be too far away, too.
            (next.at, next.checked) = (None, false);
        }
        if next.at.is_some_and(|at| at > now) {
            return false;
        }
        let claimed = self.claim(env, &mut next).await;
        self.status.lock().next_at = next.at;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                // A store that is away is asked again soon.
                next.at = Some(wait::after(env.clock.now(), env.options.backoff_first));
                self.end(env, Err(error));
                return false;
            }
        };
        if !claimed {
            return false;
        }
        self.status.begin(env);
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

    async fn claim(&self, env: &Env, next: &mut Next) -> Result<bool> {
        let now = env.clock.now();
        let following = self.rhythm.after(now, env);
        let mut tx = env.store.begin().await?;
        let Some(due_at) = table::next_at(&mut tx, self.name).await? else {
            table::ensure(&mut tx, self.name, following).await?;
            tx.commit().await?;
            next.at = None;
            // Another server may have been first, with another instant.
            let mut tx = env.store.read().await?;
            next.at = table::next_at(&mut tx, self.name).await?;
            return Ok(false);
        };
        if due_at > now {
            let latest = self.rhythm.latest(now);
            let too_far = !std::mem::replace(&mut next.checked, true) && due_at > latest;
            if too_far && table::bring_forward(&mut tx, self.name, latest).await? {
                tx.commit().await?;
            }
            next.at = Some(if too_far { latest } else { due_at });
            return Ok(false);
        }
        if !table::advance(&mut tx, self.name, due_at, following, now).await? {
            next.at = None;
            return Ok(false);
        }
        if let Work::Enqueue(job) = &self.work {
            enqueue(&mut tx, now, &*env.ids, job(Tick { due_at })?).await?;
        }
        tx.commit().await?;
        next.at = Some(following);
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
            if self.off {
                return;
            }
            let (at, asked) = {
                let mut next = self.next.lock().await;
                (next.at.unwrap_or(env.clock.now()), next.asked(env).clone())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = news(Some(asked)) => {}
                () = wait::until(&env.clock, at) => {}
            }
        }
    }
}
