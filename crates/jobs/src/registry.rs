//! What a server can do: kinds of jobs and sagas, schedules, reconcilers. And how one job is run to its outcome.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reeve_store::Store;
use reeve_store::job::Ended;
use reeve_types::id::Ids;
use reeve_types::job::{Job, JobState};
use reeve_types::{Clock, Error};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::body::{Body, Failure, Running};
use crate::fault::Faults;
use crate::reconcile::{Loop, Pokes, Reconciler, ReconcilerStatus, Slot};
use crate::runner::Options;
use crate::saga::{Saga, SagaBody};
use crate::schedule::Schedule;
use crate::wait;

/// Everything a runner may run.
pub struct Registry<C> {
    pub(crate) bodies: BTreeMap<&'static str, Arc<dyn AnyBody<C>>>,
    pub(crate) schedules: Vec<Schedule<C>>,
    pub(crate) reconcilers: Vec<Slot<C>>,
    pub(crate) pokes: Pokes,
    pub(crate) faults: Option<Faults>,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self {
            bodies: BTreeMap::new(),
            schedules: Vec::new(),
            reconcilers: Vec::new(),
            pokes: Pokes::default(),
            faults: None,
        }
    }
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of job.
    pub fn job<B: Body<C>>(mut self) -> Self {
        self.add(B::KIND, Arc::new(Plain::<B>(PhantomData)));
        self
    }

    /// Adds a kind of saga.
    pub fn saga<S: Saga<C>>(mut self) -> Self {
        self.add(S::KIND, Arc::new(SagaBody::<C, S>::new()));
        self
    }

    /// Adds recurring work.
    pub fn schedule(mut self, schedule: Schedule<C>) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Adds a loop that makes reality match the rows.
    pub fn reconciler<R: Reconciler<C>>(mut self, reconciler: R) -> Self {
        let poke = self.pokes.of(R::NAME);
        self.reconcilers.push(Slot::new(reconciler, poke));
        self
    }

    /// Adds a loop that is a value.
    pub fn looping(mut self, reconciler: Loop<C>) -> Self {
        let poke = self.pokes.of(reconciler.name);
        self.reconcilers.push(Slot::of(reconciler, poke));
        self
    }

    /// The kinds of jobs and sagas.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.bodies.keys().copied()
    }

    /// The names of a saga's steps in order; None for other kinds.
    pub fn steps_of(&self, kind: &str) -> Option<Vec<&'static str>> {
        self.bodies.get(kind)?.steps()
    }

    /// How the reconcilers, then the schedules of this process are doing.
    pub fn status(&self) -> Vec<ReconcilerStatus> {
        self.reconcilers.iter().map(|r| r.status()).chain(self.schedules.iter().map(|s| s.status())).collect()
    }

    /// Plans accidents, for tests.
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Wakes reconcilers of this process; can be handed out before the runner exists.
    pub fn pokes(&self) -> Pokes {
        self.pokes.clone()
    }

    fn add(&mut self, kind: &'static str, body: Arc<dyn AnyBody<C>>) {
        let twice = self.bodies.insert(kind, body).is_some();
        assert!(!twice, "two kinds of job are called {kind}");
    }
}

/// What every job of a runner shares.
pub(crate) struct Env {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub owner: String,
    pub options: Options,
    pub faults: Option<Faults>,
    pub dirty: Arc<Notify>,
}

/// How a run went, as far as the runner has to act.
pub(crate) enum Outcome {
    /// To be written.
    Ended(Ended),
    /// Another runner has the job; nothing is written.
    Lost,
    /// A planned accident: as if the server had been killed.
    Crashed,
}

/// One job being run.
pub(crate) struct Run<'a, C> {
    pub ctx: &'a Arc<C>,
    pub job: &'a Job,
    pub running: &'a Running,
    pub env: &'a Env,
}

impl<C> Clone for Run<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Run<'_, C> {}

pub(crate) trait AnyBody<C>: Send + Sync {
    fn steps(&self) -> Option<Vec<&'static str>>;
    fn run<'a>(&'a self, run: Run<'a, C>) -> BoxFuture<'a, Outcome>;
}

struct Plain<B>(PhantomData<fn() -> B>);

impl<C: Send + Sync + 'static, B: Body<C>> AnyBody<C> for Plain<B> {
    fn steps(&self) -> Option<Vec<&'static str>> {
        None
    }
    fn run<'a>(&'a self, run: Run<'a, C>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Run { ctx, job, running, env } = run;
            if running.is_cancelled() {
                return Outcome::Ended(ended(job, JobState::Cancelled, job.error.clone()));
            }
            let result = if job.attempts > B::MAX_ATTEMPTS {
                Err(Failure::Fail(Error::conflict("the server ended each time while it ran")))
            } else {
                match serde_json::from_str(&job.payload) {
                    Ok(payload) => guarded(env, B::TIMEOUT, Some(&running.cancel), B::run(ctx, running, payload)).await,
                    Err(error) => Err(Failure::Fail(Error::internal(error))),
                }
            };
            Outcome::Ended(settle(run, job.attempts, B::MAX_ATTEMPTS, result))
        })
    }
}

pub(crate) fn ended(job: &Job, state: JobState, error: Option<String>) -> Ended {
    Ended { id: job.id.clone(), state, run_at: None, error, progress: None }
}

fn settle<C>(run: Run<'_, C>, tries: i64, most: i64, result: Result<(), Failure>) -> Ended {
    let failure = match result {
        Ok(()) => return ended(run.job, JobState::Succeeded, None),
        Err(failure) => failure,
    };
    report(run.job, "run", &failure);
    let text = failure.error().to_string();
    if run.running.is_cancelled() {
        return ended(run.job, JobState::Cancelled, Some(text));
    }
    match failure {
        Failure::Retry { after, .. } if tries < most => retry(run.env, run.job, tries, after, text),
        Failure::Wait { after, .. } if tries < most => retry(run.env, run.job, tries, Some(after), text),
        Failure::Retry { .. } | Failure::Wait { .. } => {
            ended(run.job, JobState::Failed, Some(format!("gave up after {tries} attempts: {text}")))
        }
        Failure::Fail(_) => ended(run.job, JobState::Failed, Some(text)),
    }
}

/// Queues the job again: after `after`, or after a pause that doubles with every try.
pub(crate) fn retry(env: &Env, job: &Job, tries: i64, after: Option<Duration>, error: String) -> Ended {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(20);
    let pause = after.unwrap_or_else(|| {
        let pause = env.options.backoff_first.saturating_mul(1 << doublings).min(env.options.backoff_most);
        wait::jittered(&*env.ids, pause, 20)
    });
    let run_at = Some(wait::after(env.clock.now(), pause));
    Ended { run_at, ..ended(job, JobState::Queued, Some(error)) }
}

/// Logs a failure, once.
pub(crate) fn report(job: &Job, what: &str, failure: &Failure) {
    let error = failure.error();
    let source = error.source.as_ref().map(|source| source.to_string()).unwrap_or_default();
    let (id, kind, attempt) = (&job.id, &job.kind, job.attempts);
    tracing::warn!(job.id = %id, job.kind = %kind, attempt, what, %error, source, "a job failed");
}

/// Runs work with its time limit; a panic is a failure, and so is not stopping after a cancel.
pub(crate) async fn guarded(
    env: &Env,
    timeout: Duration,
    cancel: Option<&CancellationToken>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let deadline = wait::after(env.clock.now(), timeout);
    let stopped = async {
        match cancel {
            Some(cancel) => cancel.cancelled().await,
            None => std::future::pending().await,
        }
        wait::until(&env.clock, wait::after(env.clock.now(), env.options.cancel_grace)).await;
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done.unwrap_or_else(|_| Err(Failure::Fail(Error::internal("it panicked")))),
        () = wait::until(&env.clock, deadline) => {
            Err(Failure::retry(Error::unavailable(format!("took longer than {} s", timeout.as_secs_f64()))))
        }
        () = stopped => Err(Failure::Fail(Error::conflict("did not stop in time and was dropped"))),
    }
}
