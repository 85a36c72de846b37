//! The heart of a runner: rounds that write what has ended, prolong leases and claim what is due, in one transaction each.
//!
//! While a round waits for the disk the next results gather, so a busy runner groups them by itself.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use reeve_store::job::{self as table, Claim, Ended};
use reeve_store::{Topic, Tx};
use reeve_types::job::{Job, JobState};
use reeve_types::{Error, JobId, Result, Timestamp};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::body::Running;
use crate::output::{Meter, Printer, Said, Stored};
use crate::registry::{Env, Outcome, Registry, Run};
use crate::wait;

/// Output is stored this often while a job runs.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// The longest pause while the store is away.
const PAUSE_MOST: Duration = Duration::from_secs(5);

type Joined = std::result::Result<(JobId, Outcome), JoinError>;

struct InFlight {
    kind: &'static str,
    running: Running,
    task: AbortHandle,
}

/// What one round has stored of a job.
struct Flushed {
    printer: Printer,
    meter: Meter,
    output: Option<Stored>,
    said: Option<Said>,
}

/// A runner's state between rounds.
pub(crate) struct Core<C> {
    pub ctx: Arc<C>,
    pub registry: Arc<Registry<C>>,
    pub env: Arc<Env>,
    kinds: String,
    /// Claimed and not yet written as ended.
    in_flight: HashMap<JobId, InFlight>,
    tasks: JoinSet<(JobId, Outcome)>,
    /// Ended and not yet written.
    ended: Vec<Ended>,
    woken: watch::Receiver<u64>,
    /// Something may be due that was not claimed.
    look: bool,
    began: bool,
    heartbeat_at: Timestamp,
    take_over_at: Timestamp,
    due_at: Option<Timestamp>,
    flush_at: Option<Instant>,
}

impl<C: Send + Sync + 'static> Core<C> {
    pub fn new(ctx: Arc<C>, registry: Arc<Registry<C>>, env: Arc<Env>) -> Self {
        let kinds = serde_json::Value::from(registry.bodies.keys().copied().collect::<Vec<_>>()).to_string();
        Self {
            kinds,
            woken: env.store.subscribe(Topic::Jobs),
            in_flight: HashMap::new(),
            tasks: JoinSet::new(),
            ended: Vec::new(),
            look: true,
            began: false,
            heartbeat_at: Timestamp(0),
            take_over_at: Timestamp(0),
            due_at: None,
            flush_at: None,
            ctx,
            registry,
            env,
        }
    }

    /// Works until `stop`, then until what runs has ended.
    pub async fn serve(&mut self, stop: &CancellationToken) {
        let mut pause = FLUSH_EVERY;
        loop {
            let claiming = !stop.is_cancelled();
            match self.round(claiming).await {
                Ok(_) => pause = FLUSH_EVERY,
                Err(error) => {
                    tracing::warn!(%error, source = ?error.source, "the job runner could not reach its store");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MOST);
                    continue;
                }
            }
            if !claiming && self.in_flight.is_empty() {
                return;
            }
            self.rest(claiming.then_some(stop)).await;
        }
    }

    /// Works until nothing is due and nothing runs. Says whether there was anything.
    pub async fn drain(&mut self) -> Result<bool> {
        let mut did = false;
        loop {
            self.look = true;
            did |= self.round(true).await? > 0;
            if self.in_flight.is_empty() {
                return Ok(did);
            }
            self.rest(None).await;
        }
    }

    /// Waits until a round may be of use.
    async fn rest(&mut self, stop: Option<&CancellationToken>) {
        let now = self.env.clock.now();
        let claiming = stop.is_some() && self.room() > 0;
        let times = [
            claiming.then_some(self.take_over_at),
            self.due_at.filter(|_| claiming),
            (!self.in_flight.is_empty()).then_some(self.heartbeat_at),
        ];
        let left_us = times.into_iter().flatten().min().map_or(i64::MAX, |at| at.0 - now.0);
        let timer = Duration::from_micros(u64::try_from(left_us).unwrap_or(0)).min(wait::LOOK_AGAIN);
        let timer = Instant::now() + timer;
        loop {
            let until = self.flush_at.map_or(timer, |flush_at| flush_at.min(timer));
            tokio::select! {
                Some(joined) = self.tasks.join_next() => {
                    self.note(joined);
                    // Whatever else is about to end shares the round.
                    tokio::task::yield_now().await;
                    return;
                }
                changed = self.woken.changed() => {
                    self.look = true;
                    if changed.is_ok() {
                        return;
                    }
                }
                () = self.env.dirty.notified() => {
                    self.flush_at.get_or_insert(Instant::now() + FLUSH_EVERY);
                }
                () = tokio::time::sleep_until(until) => return,
                () = stopped(stop) => return,
            }
        }
    }

    /// How many jobs a round may claim.
    fn room(&self) -> usize {
        (self.env.options.workers + self.ended.len()).saturating_sub(self.in_flight.len())
    }

    /// One transaction of everything there is to do. Says how many jobs were claimed.
    async fn round(&mut self, claiming: bool) -> Result<usize> {
        while let Some(joined) = self.tasks.try_join_next() {
            self.note(joined);
        }
        if self.woken.has_changed().unwrap_or(false) {
            self.woken.borrow_and_update();
            self.look = true;
        }
        let now = self.env.clock.now();
        let far = wait::after(now, self.env.options.lease);
        if self.take_over_at > far || self.heartbeat_at > far {
            // The clock was set back.
            (self.take_over_at, self.heartbeat_at, self.look) = (now, now, true);
        }
        let room = self.room();
        let take_over = claiming && room > 0 && now >= self.take_over_at;
        let running = self.in_flight.len() > self.ended.len();
        // Before others' leases are looked at, one's own are made good.
        let heartbeat = running && (take_over || now >= self.heartbeat_at);
        let look = self.look || take_over || self.due_at.is_some_and(|at| at <= now);
        let flush = self.to_flush();
        let claim = claiming && look && room > 0;
        if self.ended.is_empty() && flush.is_empty() && !heartbeat && !claim && !(look && running) {
            return Ok(0);
        }

        let env = self.env.clone();
        let mut tx = env.store.begin().await?;
        let mut changed = !self.ended.is_empty() || heartbeat;
        if claiming && !self.began && env.options.alone {
            changed |= table::release_all(&mut tx).await? > 0;
        }
        let stored = self.flush(&mut tx, now, &flush).await?;
        changed |= !stored.is_empty();
        if !self.ended.is_empty() {
            table::end(&mut tx, &env.owner, now, &self.ended).await?;
            tx.wake(Topic::Output);
        }
        let lost = if heartbeat { self.heartbeat(&mut tx, now).await? } else { Vec::new() };
        let cancelled = if running && look { table::cancelling(&mut tx, &env.owner).await? } else { Vec::new() };
        let mut claimed = Vec::new();
        let mut due_at = self.due_at;
        if claim {
            let until = wait::after(now, env.options.lease);
            let mut claim = Claim { owner: &env.owner, kinds: &self.kinds, now, until, most: room as i64 };
            if take_over {
                claimed = table::take_over(&mut tx, claim).await?;
            }
            claim.most -= claimed.len() as i64;
            claimed.extend(table::claim(&mut tx, claim).await?);
            if claimed.len() < room {
                due_at = table::next_due(&mut tx, now).await?;
            }
        }
        if changed || !claimed.is_empty() {
            tx.commit().await?;
        }

        self.began |= claiming;
        self.flush_at = self.flush_at.filter(|at| *at > Instant::now());
        for flushed in stored {
            if let Some(stored) = flushed.output {
                flushed.printer.stored(&stored);
            }
            if let Some(said) = flushed.said {
                flushed.meter.stored(said);
            }
        }
        for ended in std::mem::take(&mut self.ended) {
            self.due_at = self.due_at.into_iter().chain(ended.run_at).min();
            if let Some(job) = self.in_flight.remove(&ended.id) {
                let (kind, state) = (job.kind, ended.state.word());
                metrics::counter!("reeve_job_runs_ended_total", "kind" => kind, "state" => state).increment(1);
            }
        }
        for id in lost {
            self.drop_lost(&id);
        }
        for id in cancelled {
            if let Some(job) = self.in_flight.get(&id) {
                job.running.cancel.cancel();
            }
        }
        let count = claimed.len();
        if claim {
            self.look = count == room;
            self.due_at = due_at.filter(|_| !self.look);
        } else {
            // Without room, look again once there is some.
            self.look = look && claiming;
        }
        if heartbeat || self.in_flight.is_empty() {
            self.heartbeat_at = wait::after(now, env.options.lease / 3);
        }
        if take_over {
            self.take_over_at = wait::after(now, env.options.lease / 3);
        }
        claimed.into_iter().for_each(|job| self.begin(job));
        Ok(count)
    }

    /// Jobs with something to store: those that have ended, and from time to time the others.
    fn to_flush(&self) -> Vec<(JobId, Printer, Meter)> {
        let all = self.flush_at.is_some_and(|at| at <= Instant::now());
        let candidates: Vec<&JobId> =
            if all { self.in_flight.keys().collect() } else { self.ended.iter().map(|ended| &ended.id).collect() };
        let jobs = candidates.into_iter().filter_map(|id| self.in_flight.get_key_value(id));
        jobs.filter(|(_, job)| job.running.output.is_dirty() || job.running.meter.unstored().is_some())
            .map(|(id, job)| (id.clone(), job.running.output.clone(), job.running.meter.clone()))
            .collect()
    }

    async fn flush(&self, tx: &mut Tx, now: Timestamp, jobs: &[(JobId, Printer, Meter)]) -> Result<Vec<Flushed>> {
        let mut stored = Vec::new();
        for (id, printer, meter) in jobs {
            if !table::holds(tx, &self.env.owner, id).await? {
                continue;
            }
            let output = if printer.is_dirty() { Some(printer.store(tx, id, now).await?) } else { None };
            let said = meter.unstored();
            if let Some((done, total)) = said {
                table::set_reported(tx, &self.env.owner, id, done, total).await?;
            }
            stored.push(Flushed { printer: printer.clone(), meter: meter.clone(), output, said });
        }
        Ok(stored)
    }

    /// Prolongs the leases. Gives back what is no longer held.
    async fn heartbeat(&self, tx: &mut Tx, now: Timestamp) -> Result<Vec<JobId>> {
        let done: HashSet<&JobId> = self.ended.iter().map(|ended| &ended.id).collect();
        let running: Vec<&JobId> = self.in_flight.keys().filter(|id| !done.contains(id)).collect();
        let ids = serde_json::to_string(&running).map_err(Error::internal)?;
        let until = wait::after(now, self.env.options.lease);
        let held: HashSet<JobId> = table::heartbeat(tx, &self.env.owner, &ids, until).await?.into_iter().collect();
        Ok(running.into_iter().filter(|id| !held.contains(id)).cloned().collect())
    }

    fn drop_lost(&mut self, id: &JobId) {
        if let Some(job) = self.in_flight.remove(id) {
            tracing::warn!(job.id = %id, "the lease of a job was lost, another runner has it");
            job.task.abort();
        }
    }

    fn begin(&mut self, job: Job) {
        let Some((kind, body)) = self.registry.bodies.get_key_value(job.kind.as_str()) else {
            self.ended.push(crate::registry::ended(&job, JobState::Failed, Some("unknown kind".to_owned())));
            return;
        };
        let (kind, body) = (*kind, body.clone());
        let running = Running {
            id: job.id.clone(),
            requested_by: job.requested_by.clone(),
            attempt: job.attempts,
            output: Printer::new(self.env.dirty.clone()),
            meter: Meter::new(self.env.dirty.clone()),
            cancel: CancellationToken::new(),
            env: self.env.clone(),
            standing: Arc::default(),
        };
        if job.cancel_requested {
            running.cancel.cancel();
        }
        let id = job.id.clone();
        let (ctx, env, for_task) = (self.ctx.clone(), self.env.clone(), running.clone());
        let task = self.tasks.spawn(async move {
            let run = body.run(Run { ctx: &ctx, job: &job, running: &for_task, env: &env });
            let outcome = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(job.id = %job.id, job.kind = %job.kind, "the run of a job panicked");
                Outcome::Ended(crate::registry::ended(&job, JobState::Failed, Some("Internal Server Error".to_owned())))
            });
            (job.id, outcome)
        });
        self.in_flight.insert(id, InFlight { kind, running, task });
    }

    fn note(&mut self, joined: Joined) {
        match joined {
            Ok((id, Outcome::Ended(ended))) => {
                // A job whose lease was lost may have ended all the same.
                if self.in_flight.contains_key(&id) {
                    self.ended.push(ended);
                }
            }
            Ok((id, Outcome::Lost)) => self.drop_lost(&id),
            Ok((id, Outcome::Crashed)) => {
                self.in_flight.remove(&id);
            }
            // Only what was dropped here ends without an outcome.
            Err(error) => tracing::debug!(%error, "a run was dropped"),
        }
    }
}

async fn stopped(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}
