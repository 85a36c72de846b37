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

/// How a reconciler or a schedule of this process is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcilerStatus {
    /// Which one.
    pub name: &'static str,
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

impl<C: Send + Sync + 'static, R: Reconciler<C>> AnyReconciler<C> for R {
    fn pass<'a>(&'a self, ctx: &'a Arc<C>) -> BoxFuture<'a, Result<()>> {
        Box::pin(Reconciler::pass(self, ctx))
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
}

impl<C: Send + Sync + 'static> Slot<C> {
    pub fn new<R: Reconciler<C>>(reconciler: R, poke: Arc<Poke>) -> Self {
        Self {
            name: R::NAME,
            every: R::EVERY,
            topic: R::TOPIC,
            one_server: R::ONE_SERVER,
            body: Box::new(reconciler),
            poke,
            status: Status::new(R::NAME),
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
        // The request is taken before the pass looks, so that what comes during it leads to another.
        let poked = self.poke.wanted.swap(false, Ordering::SeqCst);
        if !(poked || news || next.at.is_none_or(|at| at <= env.clock.now())) {
            return false;
        }
        if let Some(topic) = &mut next.topic {
            topic.borrow_and_update();
        }
        let passed = match self.leased_pass(ctx, env).await {
            Ok(passed) => passed,
            Err(error) => {
                tracing::warn!(reconciler = self.name, %error, "the lease of a reconciler could not be had");
                self.status.end(env, Err(error));
                true
            }
        };
        next.at = Some(wait::after(env.clock.now(), wait::jittered(&*env.ids, self.every, 10)));
        passed
    }

    async fn leased_pass(&self, ctx: &Arc<C>, env: &Env) -> Result<bool> {
        if !self.one_server {
            self.pass(ctx, env).await;
            return Ok(true);
        }
        if !self.lease(env).await? {
            return Ok(false);
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
        let name = format!("reconciler {}", self.name);
        let mut tx = env.store.begin().await?;
        table::ensure(&mut tx, &name, now).await?;
        // The lease outlives the pause between passes, so the work stays where it is.
        let until = wait::after(now, env.options.lease.max(self.every * 2));
        let leased = table::lease(&mut tx, &name, &env.owner, now, until).await?;
        tx.commit().await?;
        Ok(leased)
    }

    async fn pass(&self, ctx: &Arc<C>, env: &Env) {
        self.status.begin();
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
            drop(next);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.poke.notify.notified() => {}
                () = news(topic) => {}
                () = wait::until(&env.clock, at) => {}
            }
        }
    }
}

async fn news(topic: Option<watch::Receiver<u64>>) {
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
}

/// The status of something that recurs.
pub(crate) struct Status(Mutex<ReconcilerStatus>);

impl Status {
    pub fn new(name: &'static str) -> Self {
        Self(Mutex::new(ReconcilerStatus { name, ..Default::default() }))
    }
    pub fn lock(&self) -> MutexGuard<'_, ReconcilerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn begin(&self) {
        self.lock().running = true;
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
