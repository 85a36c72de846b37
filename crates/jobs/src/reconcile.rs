//! Reconcilers: loops without input that make reality match the rows, woken by timer, poke or topic.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reeve_store::{Topic, schedule as table};
use reeve_types::{Error, Result, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::registry::Env;
use crate::wait;

/// A loop that makes reality match the rows. A pass finds out itself what is to be done.
pub trait Reconciler<C>: Send + Sync + 'static {
    /// A word for logs, pokes and `reeve doctor`.
    const NAME: &'static str;
    /// From the end of a pass to the next one, give or take a tenth.
    const EVERY: Duration;
    /// A commit of any server that wakes this topic starts a pass.
    const TOPIC: Option<Topic> = None;
    /// Passes on one server at a time; another takes over when it is gone. A poke is heard by that server only.
    const ONE_SERVER: bool = false;

    /// One pass. A failure is logged and reported, the next pass comes in its time.
    fn pass(&self, ctx: &Arc<C>) -> impl Future<Output = Result<()>> + Send;
}

/// A pass as a function.
pub type Pass<C> = for<'a> fn(&'a Arc<C>) -> BoxFuture<'a, Result<()>>;

/// A reconciler as a value, for tables of them.
pub struct Loop<C> {
    /// A word for logs, pokes and `reeve doctor`.
    pub name: &'static str,
    /// From the end of a pass to the next one, give or take a tenth.
    pub every: Duration,
    /// A commit of any server that wakes this topic starts a pass.
    pub topic: Option<Topic>,
    /// As [`Reconciler::ONE_SERVER`].
    pub one_server: bool,
    /// One pass.
    pub pass: Pass<C>,
}

impl<C> Loop<C> {
    /// By timer and poke, on every server.
    pub fn new(name: &'static str, every: Duration, pass: Pass<C>) -> Self {
        Self { name, every, topic: None, one_server: false, pass }
    }
    /// By this topic too.
    pub fn on(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }
    /// On one server at a time.
    pub fn on_one_server(mut self) -> Self {
        self.one_server = true;
        self
    }
}

/// What recurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recurs {
    /// Passes that make reality match the rows.
    #[default]
    Reconciler,
    /// Ticks, each done once.
    Schedule,
}

/// How a reconciler or a schedule of this process is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcilerStatus {
    /// Which one.
    pub name: &'static str,
    /// What it is.
    pub recurs: Recurs,
    /// How often, in words: `every 5s`, or a cron pattern.
    pub rhythm: String,
    /// Whether one server does it at a time.
    pub one_server: bool,
    /// Turned off by the settings.
    pub off: bool,
    /// Not later than this, as far as this process knows.
    pub next_at: Option<Timestamp>,
    /// Start of the last pass.
    pub last_started_at: Option<Timestamp>,
    /// Passes so far.
    pub passes: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// A pass is under way.
    pub running: bool,
    /// End of the last good pass.
    pub last_success_at: Option<Timestamp>,
    /// Why the last pass failed, safe to show; None after a good one.
    pub last_error: Option<String>,
}

/// Wakes reconcilers of this process by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pokes(Arc<Mutex<HashMap<&'static str, Arc<Poke>>>>);

impl Pokes {
    /// Asks for a pass; one that is under way is followed by another. False for an unknown name.
    pub fn poke(&self, name: &str) -> bool {
        let poke = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        poke.map(|poke| poke.raise()).is_some()
    }

    pub(crate) fn of(&self, name: &'static str) -> Arc<Poke> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone()
    }
}

#[derive(Default)]
pub(crate) struct Poke {
    wanted: AtomicBool,
    notify: Notify,
}

impl Poke {
    fn raise(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }
}

trait AnyReconciler<C>: Send + Sync {
    fn pass<'a>(&'a self, ctx: &'a Arc<C>) -> BoxFuture<'a, Result<()>>;
}

struct ByTrait<R>(R);

impl<C: Send + Sync + 'static, R: Reconciler<C>> AnyReconciler<C> for ByTrait<R> {
    fn pass<'a>(&'a self, ctx: &'a Arc<C>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.0.pass(ctx))
    }
}

struct ByFunction<C>(Pass<C>);

impl<C: Send + Sync + 'static> AnyReconciler<C> for ByFunction<C> {
    fn pass<'a>(&'a self, ctx: &'a Arc<C>) -> BoxFuture<'a, Result<()>> {
        (self.0)(ctx)
    }
}

/// A reconciler with its place in time.
pub(crate) struct Slot<C> {
    name: &'static str,
    every: Duration,
    topic: Option<Topic>,
    one_server: bool,
    body: Box<dyn AnyReconciler<C>>,
    poke: Arc<Poke>,
    status: Status,
    /// Held during a pass, so there are never two.
    next: tokio::sync::Mutex<Next>,
}

#[derive(Default)]
struct Next {
    at: Option<Timestamp>,
    topic: Option<watch::Receiver<u64>>,
    asked: Option<watch::Receiver<u64>>,
    /// The request for a pass that was answered last.
    answered: Option<Timestamp>,
    /// The lease is good until then; it is prolonged when half of it is over.
    leased_until: Option<Timestamp>,
}

impl<C: Send + Sync + 'static> Slot<C> {
    pub fn new<R: Reconciler<C>>(reconciler: R, poke: Arc<Poke>) -> Self {
        Self {
            name: R::NAME,
            every: R::EVERY,
            topic: R::TOPIC,
            one_server: R::ONE_SERVER,
            body: Box::new(ByTrait(reconciler)),
            poke,
            status: Status::of(R::NAME, Recurs::Reconciler, every(R::EVERY), R::ONE_SERVER),
            next: tokio::sync::Mutex::default(),
        }
    }

    pub fn of(l: Loop<C>, poke: Arc<Poke>) -> Self {
        Self {
            name: l.name,
            every: l.every,
            topic: l.topic,
            one_server: l.one_server,
            body: Box::new(ByFunction(l.pass)),
            poke,
            status: Status::of(l.name, Recurs::Reconciler, every(l.every), l.one_server),
            next: tokio::sync::Mutex::default(),
        }
    }

    pub fn status(&self) -> ReconcilerStatus {
        self.status.lock().clone()
    }

    /// Makes a pass if it is time or somebody asked for one. Says whether it did.
    pub async fn pass_if_due(&self, ctx: &Arc<C>, env: &Env) -> bool {
        let mut next = self.next.lock().await;
        let topic = next.topic(self.topic, env);
        let news = topic.is_some_and(|topic| topic.has_changed().unwrap_or(false));
        let asked = self.was_asked(&mut next, env).await;
        // The request is taken before the pass looks, so that what comes during it leads to another.
        let poked = self.poke.wanted.swap(false, Ordering::SeqCst);
        // Further away than it ever was when it was set: the clock was set back since.
        let now = env.clock.now();
        let due = next.at.is_none_or(|at| at <= now || at > wait::after(now, self.every * 2));
        if !(poked || asked || news || due) {
            return false;
        }
        if let Some(topic) = &mut next.topic {
            topic.borrow_and_update();
        }
        let passed = match self.leased_pass(ctx, env, &mut next.leased_until).await {
            Ok(passed) => passed,
            Err(error) => {
                tracing::warn!(reconciler = self.name, %error, "the lease of a reconciler could not be had");
                self.status.end(env, Err(error));
                true
            }
        };
        next.at = Some(wait::after(env.clock.now(), wait::jittered(&*env.ids, self.every, 10)));
        self.status.lock().next_at = next.at;
        passed
    }

    /// Whether somebody asked for a pass since the last answer, on whichever server.
    async fn was_asked(&self, next: &mut Next, env: &Env) -> bool {
        let asked = next.asked(env);
        if !asked.has_changed().unwrap_or(false) {
            return false;
        }
        asked.borrow_and_update();
        let read = async {
            let mut tx = env.store.read().await?;
            table::asked_at(&mut tx, &row_name(self.name)).await
        };
        match read.await {
            Ok(at) if at != next.answered => {
                next.answered = at;
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(reconciler = self.name, %error, "requests for a pass could not be read");
                false
            }
        }
    }

    async fn leased_pass(&self, ctx: &Arc<C>, env: &Env, until: &mut Option<Timestamp>) -> Result<bool> {
        // A server that is alone needs no lease: nobody else passes.
        if !self.one_server || env.options.alone {
            self.pass(ctx, env).await;
            return Ok(true);
        }
        let half = wait::after(env.clock.now(), self.lease_for(env) / 2);
        if until.is_none_or(|until| until < half) {
            *until = None;
            if !self.lease(env).await? {
                return Ok(false);
            }
            *until = Some(wait::after(env.clock.now(), self.lease_for(env)));
        }
        let kept = async {
            loop {
                wait::until(&env.clock, wait::after(env.clock.now(), env.options.lease / 3)).await;
                if !matches!(self.lease(env).await, Ok(true)) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.pass(ctx, env) => {}
            () = kept => self.status.end(env, Err(Error::unavailable("another server took over in mid pass"))),
        }
        Ok(true)
    }

    async fn lease(&self, env: &Env) -> Result<bool> {
        let now = env.clock.now();
        let name = row_name(self.name);
        let mut tx = env.store.begin().await?;
        table::ensure(&mut tx, &name, now).await?;
        let until = wait::after(now, self.lease_for(env));
        let leased = table::lease(&mut tx, &name, &env.owner, now, until).await?;
        tx.commit().await?;
        Ok(leased)
    }

    /// The lease outlives the pause between passes, so the work stays where it is.
    fn lease_for(&self, env: &Env) -> Duration {
        env.options.lease.max(self.every * 2)
    }

    async fn pass(&self, ctx: &Arc<C>, env: &Env) {
        self.status.begin(env);
        let result = AssertUnwindSafe(self.body.pass(ctx)).catch_unwind().await;
        let result = result.unwrap_or_else(|_| Err(Error::internal("it panicked")));
        if let Err(error) = &result {
            let source = error.source.as_ref().map(|source| source.to_string()).unwrap_or_default();
            tracing::warn!(reconciler = self.name, %error, source, "a pass failed");
        }
        self.status.end(env, result);
    }

    /// Passes whenever it is time, until `stop`.
    pub async fn run(&self, ctx: &Arc<C>, env: &Env, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.pass_if_due(ctx, env) => {}
            }
            let mut next = self.next.lock().await;
            let at = next.at.unwrap_or(env.clock.now());
            let topic = next.topic(self.topic, env).cloned();
            let asked = next.asked(env).clone();
            drop(next);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.poke.notify.notified() => {}
                () = news(topic) => {}
                () = news(Some(asked)) => {}
                () = wait::until(&env.clock, at) => {}
            }
        }
    }
}

/// The name of a reconciler's row among the schedules.
pub fn row_name(name: &str) -> String {
    format!("reconciler {name}")
}

/// A period in words.
pub(crate) fn every(period: Duration) -> String {
    let secs = period.as_secs();
    match secs {
        0 => format!("every {}ms", period.as_millis()),
        _ if secs.is_multiple_of(3600) => format!("every {}h", secs / 3600),
        _ if secs.is_multiple_of(60) => format!("every {}m", secs / 60),
        _ => format!("every {secs}s"),
    }
}

pub(crate) async fn news(topic: Option<watch::Receiver<u64>>) {
    if let Some(mut topic) = topic
        && topic.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Next {
    fn topic(&mut self, topic: Option<Topic>, env: &Env) -> Option<&watch::Receiver<u64>> {
        if self.topic.is_none() {
            self.topic = topic.map(|topic| env.store.subscribe(topic));
        }
        self.topic.as_ref()
    }

    fn asked(&mut self, env: &Env) -> &mut watch::Receiver<u64> {
        self.asked.get_or_insert_with(|| env.store.subscribe(Topic::Schedules))
    }
}

/// The status of something that recurs.
pub(crate) struct Status(Mutex<ReconcilerStatus>);

impl Status {
    pub fn of(name: &'static str, recurs: Recurs, rhythm: String, one_server: bool) -> Self {
        Self(Mutex::new(ReconcilerStatus { name, recurs, rhythm, one_server, ..Default::default() }))
    }
    pub fn lock(&self) -> MutexGuard<'_, ReconcilerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn begin(&self, env: &Env) {
        let mut status = self.lock();
        status.running = true;
        status.last_started_at = Some(env.clock.now());
    }
    pub fn end(&self, env: &Env, result: Result<()>) {
        let mut status = self.lock();
        status.running = false;
        status.passes += 1;
        match result {
            Ok(()) => {
                status.last_success_at = Some(env.clock.now());
                status.last_error = None;
            }
            Err(error) => {
                status.failures += 1;
                status.last_error = Some(error.to_string());
            }
        }
    }
}
