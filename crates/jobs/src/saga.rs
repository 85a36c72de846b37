//! Sagas: ordered steps, each with its undo. A failure unwinds from the failed step, a crash resumes where it was.
//!
//! A step or undo may run again after it had its effect, so both are idempotent; an undo may meet a step that has done
//! nothing, or half. What must happen exactly once goes into `record`, which shares the transaction of the progress.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_store::Tx;
use reeve_store::job::{self as table, Ended};
use reeve_types::job::JobState;
use reeve_types::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::{Failure, Running};
use crate::fault::{Accident, Point};
use crate::progress::{Move, Progress};
use crate::registry::{AnyBody, Outcome, Run, ended, guarded, report, retry};

/// A kind of saga.
pub trait Saga<C>: Send + Sync + 'static {
    /// The word in `jobs.kind`, as `node.move`.
    const KIND: &'static str;
    /// One step, or one undo, takes no longer.
    const STEP_TIMEOUT: Duration;
    /// Tries of one step, then it has failed.
    const STEP_ATTEMPTS: i64 = 10;
    /// Tries of one undo, then the saga has failed with the rest left over.
    const UNDO_ATTEMPTS: i64 = 10;
    /// What the steps share; begins as the job's payload and is stored after every step.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// The steps in order. Only append to them: running sagas are stored by position.
    fn steps() -> Steps<C, Self::State>;
}

/// One step of a saga.
pub trait Step<C, S>: Send + Sync + 'static {
    /// A word for logs and errors.
    fn name(&self) -> &'static str;

    /// Has the effect outside the database. What the undo needs to know goes into `state`.
    fn run(&self, ctx: &Arc<C>, job: &Running, state: &mut S) -> impl Future<Output = Result<(), Failure>> + Send {
        let _unused = (ctx, job, state);
        async { Ok(()) }
    }
    /// Changes the database, in the transaction that marks the step as done.
    fn record(&self, ctx: &Arc<C>, tx: &mut Tx, state: &mut S) -> impl Future<Output = Result<(), Failure>> + Send {
        let _unused = (ctx, tx, state);
        async { Ok(()) }
    }
    /// Takes the effect back, however far it came.
    fn undo(&self, ctx: &Arc<C>, job: &Running, state: &mut S) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Takes the database change back, in the transaction that marks the step as undone. The step may not have been recorded.
    fn record_undo(
        &self,
        ctx: &Arc<C>,
        tx: &mut Tx,
        state: &mut S,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _unused = (ctx, tx, state);
        async { Ok(()) }
    }
}

/// The steps of a saga, in order.
pub struct Steps<C, S>(Vec<Box<dyn AnyStep<C, S>>>);

impl<C, S> Default for Steps<C, S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Send + Sync + 'static, S: Send + 'static> Steps<C, S> {
    /// No steps.
    pub fn new() -> Self {
        Self::default()
    }
    /// And then this one.
    pub fn then(mut self, step: impl Step<C, S>) -> Self {
        self.0.push(Box::new(step));
        self
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type Attempt<'a> = BoxFuture<'a, Result<(), Failure>>;

trait AnyStep<C, S>: Send + Sync {
    fn name(&self) -> &'static str;
    fn go<'a>(&'a self, ctx: &'a Arc<C>, job: &'a Running, state: &'a mut S, back: bool) -> Attempt<'a>;
    fn record<'a>(&'a self, ctx: &'a Arc<C>, tx: &'a mut Tx, state: &'a mut S, back: bool) -> Attempt<'a>;
}

impl<C: Send + Sync + 'static, S: Send + 'static, T: Step<C, S>> AnyStep<C, S> for T {
    fn name(&self) -> &'static str {
        Step::name(self)
    }
    fn go<'a>(&'a self, ctx: &'a Arc<C>, job: &'a Running, state: &'a mut S, back: bool) -> Attempt<'a> {
        if back { Box::pin(self.undo(ctx, job, state)) } else { Box::pin(self.run(ctx, job, state)) }
    }
    fn record<'a>(&'a self, ctx: &'a Arc<C>, tx: &'a mut Tx, state: &'a mut S, back: bool) -> Attempt<'a> {
        if back { Box::pin(self.record_undo(ctx, tx, state)) } else { Box::pin(Step::record(self, ctx, tx, state)) }
    }
}

pub(crate) struct SagaBody<C, S: Saga<C>>(Steps<C, S::State>, PhantomData<fn() -> S>);

impl<C, S: Saga<C>> SagaBody<C, S> {
    pub fn new() -> Self {
        Self(S::steps(), PhantomData)
    }
}

impl<C: Send + Sync + 'static, S: Saga<C>> AnyBody<C> for SagaBody<C, S> {
    fn steps(&self) -> Option<Vec<&'static str>> {
        Some(self.0.0.iter().map(|step| step.name()).collect())
    }
    fn run<'a>(&'a self, run: Run<'a, C>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let limits = Limits { timeout: S::STEP_TIMEOUT, run: S::STEP_ATTEMPTS, undo: S::UNDO_ATTEMPTS };
            let journey = Journey { run, steps: &self.0.0, limits };
            match journey.travel().await {
                Ok(outcome) => outcome,
                Err(Stop::Lost) => Outcome::Lost,
                Err(Stop::Crashed) => Outcome::Crashed,
                // What is stored stands, for it may be further than what is known here.
                Err(Stop::Store(error)) => {
                    let failure = Failure::retry(error);
                    report(run.job, "store", &failure);
                    Outcome::Ended(retry(run.env, run.job, 1, None, failure.error().to_string()))
                }
                Err(Stop::Unreadable(error)) => {
                    let failure = Failure::Fail(error);
                    report(run.job, "read", &failure);
                    Outcome::Ended(ended(run.job, JobState::Failed, Some(failure.error().to_string())))
                }
            }
        })
    }
}

struct Limits {
    timeout: Duration,
    run: i64,
    undo: i64,
}

/// Why a run ends without a word about the saga itself.
enum Stop {
    Lost,
    Crashed,
    Store(Error),
    Unreadable(Error),
}

struct Journey<'a, C, S> {
    run: Run<'a, C>,
    steps: &'a [Box<dyn AnyStep<C, S>>],
    limits: Limits,
}

impl<C, S> Journey<'_, C, S>
where
    C: Send + Sync + 'static,
    S: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    async fn travel(&self) -> Result<Outcome, Stop> {
        let Run { job, running, .. } = self.run;
        let attempt = job.attempts;
        let first_state =
            || serde_json::from_str::<Value>(&job.payload).map_err(|e| Stop::Unreadable(Error::internal(e)));
        let mut progress = match &job.progress {
            Some(text) => Progress::parse(text).map_err(Stop::Unreadable)?,
            None => Progress::start(first_state()?, attempt),
        };
        // Whether the step it stands before may have had effects already.
        let mut begun = attempt > 1 || job.progress.is_some();
        loop {
            match progress.next(self.steps.len()) {
                Move::Succeeded => return Ok(Outcome::Ended(ended(job, JobState::Succeeded, None))),
                Move::Undone => return Ok(self.undone(&progress)),
                Move::Restart => {
                    progress = Progress::start(first_state()?, attempt);
                    begun = false;
                    self.save(&progress).await?;
                }
                Move::Run(_) if running.is_cancelled() => {
                    progress.unwind(progress.state.clone(), begun, true, None, attempt);
                    self.save(&progress).await?;
                }
                Move::Run(index) => {
                    begun = true;
                    if let Some(outcome) = self.forward(&mut progress, index).await? {
                        return Ok(outcome);
                    }
                    begun &= progress.unwinding.is_some();
                }
                Move::Undo(index) => {
                    if let Some(outcome) = self.back(&mut progress, index).await? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// Runs a step: moves `progress` on, turns it round, or ends this run.
    async fn forward(&self, progress: &mut Progress, index: usize) -> Result<Option<Outcome>, Stop> {
        let Run { job, running, env, .. } = self.run;
        let tries = job.attempts - progress.since + 1;
        let mut state = self.state(progress)?;
        let failure = if tries > self.limits.run {
            Failure::Fail(Error::conflict("the server ended each time while it ran"))
        } else {
            match self.attempt(progress, index, &mut state, false).await? {
                Ok(()) => return Ok(None),
                Err(failure) => failure,
            }
        };
        let tries = job.attempts - progress.since + 1;
        let name = self.steps[index].name();
        let text = format!("{name}: {}", failure.error());
        let value = serde_json::to_value(&state).map_err(|e| Stop::Unreadable(Error::internal(e)))?;
        if let Failure::Wait { after, .. } = &failure
            && !running.is_cancelled()
        {
            return Ok(Some(self.look_again(progress, value, *after, text)?));
        }
        report(job, name, &failure);
        if let Failure::Retry { after, .. } = &failure
            && tries < self.limits.run
            && !running.is_cancelled()
        {
            progress.state = value;
            return Ok(Some(self.requeue(progress, retry(env, job, tries, *after, text))?));
        }
        progress.unwind(value, true, running.is_cancelled(), Some(text), job.attempts);
        self.save(progress).await?;
        Ok(None)
    }

    /// Undoes a step: moves `progress` on, or ends this run. Every failure is worth another try here.
    async fn back(&self, progress: &mut Progress, index: usize) -> Result<Option<Outcome>, Stop> {
        let Run { job, env, .. } = self.run;
        let mut state = self.state(progress)?;
        let failure = match self.attempt(progress, index, &mut state, true).await? {
            Ok(()) => return Ok(None),
            Err(failure) => failure,
        };
        let tries = job.attempts - progress.since + 1;
        let name = self.steps[index].name();
        let text = format!("undo of {name}: {}", failure.error());
        if let Failure::Wait { after, .. } = &failure {
            let value = serde_json::to_value(&state).map_err(|e| Stop::Unreadable(Error::internal(e)))?;
            return Ok(Some(self.look_again(progress, value, *after, text)?));
        }
        report(job, name, &failure);
        if tries < self.limits.undo {
            let after = match &failure {
                Failure::Retry { after, .. } => *after,
                Failure::Wait { .. } | Failure::Fail(_) => None,
            };
            return Ok(Some(self.requeue(progress, retry(env, job, tries, after, text))?));
        }
        let left: Vec<String> = self.steps[..=index].iter().rev().map(|step| step.name().to_owned()).collect();
        let why = progress.unwinding.as_ref().and_then(|u| u.error.clone()).unwrap_or_else(|| "cancelled".to_owned());
        let error = format!("{why}; {text}; left over: {}", left.join(", "));
        if let Some(unwinding) = &mut progress.unwinding {
            unwinding.leftover = left;
        }
        Ok(Some(self.requeue(progress, ended(job, JobState::Failed, Some(error)))?))
    }

    /// The effect, then the record.
    async fn attempt(
        &self,
        progress: &mut Progress,
        index: usize,
        state: &mut S,
        back: bool,
    ) -> Result<Result<(), Failure>, Stop> {
        let Run { ctx, running, env, .. } = self.run;
        let step = &self.steps[index];
        let cancel = (!back).then_some(&running.cancel);
        let [before, after, recorded] = if back {
            [Point::BeforeUndo, Point::AfterUndo, Point::UndoRecorded]
        } else {
            [Point::BeforeRun, Point::AfterRun, Point::Recorded]
        };
        if let Err(failure) = self.meet(before, index)? {
            return Ok(Err(failure));
        }
        let stand = |standing: Option<Progress>| {
            std::mem::replace(&mut *running.standing.lock().unwrap_or_else(PoisonError::into_inner), standing)
        };
        stand(Some(progress.clone()));
        let mut effect = guarded(env, self.limits.timeout, cancel, step.go(ctx, running, state, back)).await;
        if let Some(stood) = stand(None) {
            *progress = stood;
        }
        if effect.is_ok() {
            effect = self.meet(after, index)?;
        }
        if effect.is_err() {
            return Ok(effect);
        }
        let kept = state.clone();
        let mut tx = env.store.begin().await.map_err(Stop::Store)?;
        if let Err(failure) = guarded(env, self.limits.timeout, None, step.record(ctx, &mut tx, state, back)).await {
            *state = kept;
            return Ok(Err(failure));
        }
        let value = serde_json::to_value(&*state).map_err(|e| Stop::Unreadable(Error::internal(e)))?;
        let mut moved = progress.clone();
        moved.done(value, self.run.job.attempts);
        self.save_in(tx, &moved).await?;
        *progress = moved;
        self.meet(recorded, index)?.ok();
        Ok(Ok(()))
    }

    async fn save(&self, progress: &Progress) -> Result<(), Stop> {
        let tx = self.run.env.store.begin().await.map_err(Stop::Store)?;
        self.save_in(tx, progress).await
    }

    async fn save_in(&self, mut tx: Tx, progress: &Progress) -> Result<(), Stop> {
        let text = progress.to_text().map_err(Stop::Unreadable)?;
        let held =
            table::set_progress(&mut tx, &self.run.env.owner, &self.run.job.id, &text).await.map_err(Stop::Store)?;
        if !held {
            return Err(Stop::Lost);
        }
        tx.commit().await.map_err(Stop::Store)
    }

    fn state(&self, progress: &Progress) -> Result<S, Stop> {
        S::deserialize(&progress.state).map_err(|e| Stop::Unreadable(Error::internal(e)))
    }

    /// Ends this run until `after` has passed; the next one is the first try again.
    fn look_again(
        &self,
        progress: &mut Progress,
        value: Value,
        after: Duration,
        text: String,
    ) -> Result<Outcome, Stop> {
        progress.state = value;
        progress.since = self.run.job.attempts + 1;
        self.requeue(progress, retry(self.run.env, self.run.job, 1, Some(after), text))
    }

    fn requeue(&self, progress: &Progress, ended: Ended) -> Result<Outcome, Stop> {
        let text = progress.to_text().map_err(Stop::Unreadable)?;
        Ok(Outcome::Ended(Ended { progress: Some(text), ..ended }))
    }

    fn undone(&self, progress: &Progress) -> Outcome {
        let (cancelled, error) = match &progress.unwinding {
            Some(unwinding) => (unwinding.cancelled, unwinding.error.clone()),
            None => (false, None),
        };
        Outcome::Ended(ended(self.run.job, if cancelled { JobState::Cancelled } else { JobState::Failed }, error))
    }

    /// The place of planned accidents.
    fn meet(&self, point: Point, index: usize) -> Result<Result<(), Failure>, Stop> {
        let Some(faults) = &self.run.env.faults else { return Ok(Ok(())) };
        match faults(point, index) {
            None => Ok(Ok(())),
            Some(Accident::Fail(error)) => Ok(Err(Failure::Fail(error))),
            Some(Accident::Crash) => Err(Stop::Crashed),
            Some(Accident::Cancel) => {
                self.run.running.cancel.cancel();
                Ok(Ok(()))
            }
        }
    }
}
