//! `reeve dev bench-jobs`, hidden: drains trivial jobs and sagas, and measures the way from enqueue to start.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use reeve_jobs::{Body, Failure, NewJob, Options, Registry, Runner, Running, Saga, Step, Steps, enqueue, enqueue_many};
use reeve_store::{Location, Store};
use reeve_types::id::SystemIds;
use reeve_types::{Clock, SystemClock, Timestamp};
use serde_json::json;
use tokio::sync::Notify;

use crate::say;

/// Flags of `reeve dev bench-jobs`.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchJobsArgs {
    /// A folder for the database of the measurement
    #[arg(long)]
    data: PathBuf,
    /// Measure on this PostgreSQL database instead; jobs of the measurement are removed from it
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Jobs to drain
    #[arg(long, default_value_t = 50_000)]
    jobs: u64,
    /// Samples of the latency
    #[arg(long, default_value_t = 300)]
    samples: usize,
}

/// Runs the measurement; the last line is its result as JSON.
pub async fn run(args: BenchJobsArgs) -> Result<()> {
    std::fs::create_dir_all(&args.data).with_context(|| format!("{} cannot be made", args.data.display()))?;
    let location = match &args.store {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::Sqlite(args.data.join("bench-jobs.db")),
    };
    let store = Store::open(&location).await?;
    let done = measure(&store, &args).await;
    let mut tx = store.begin().await?;
    tx.execute("DELETE FROM jobs WHERE kind IN ('bench.trivial', 'bench.saga')", &[]).await?;
    tx.commit().await?;
    done
}

async fn measure(store: &Store, args: &BenchJobsArgs) -> Result<()> {
    let steps = drain(store, args.jobs, 1).await?;
    say::line(&format!("{} jobs of one step: {steps:.0} steps/s", args.jobs));
    let saga_steps = drain(store, args.jobs / 10, 4).await?;
    say::line(&format!("{} sagas of four steps: {saga_steps:.0} steps/s", args.jobs / 10));
    let (p50, p99) = latency(store, args.samples.max(1)).await?;
    say::line(&format!("enqueue, with its commit, to start: p50 {p50:.2} ms, p99 {p99:.2} ms"));
    let result = json!({
        "steps_per_second": steps,
        "saga_steps_per_second": saga_steps,
        "enqueue_to_start_p50_ms": p50,
        "enqueue_to_start_p99_ms": p99,
    });
    say::line(&result.to_string());
    Ok(())
}

#[derive(Default)]
struct Bench {
    done: AtomicU64,
    changed: Notify,
    started: Mutex<Option<Timestamp>>,
}

impl Bench {
    fn count(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }
    async fn wait_for(&self, done: u64) {
        while self.done.load(Ordering::SeqCst) < done {
            self.changed.notified().await;
        }
    }
    fn started(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Trivial;
impl Body<Bench> for Trivial {
    const KIND: &'static str = "bench.trivial";
    const TIMEOUT: Duration = Duration::from_secs(10);
    type Payload = u64;
    async fn run(bench: &Arc<Bench>, _job: &Running, _payload: u64) -> Result<(), Failure> {
        bench.started().get_or_insert(SystemClock.now());
        bench.count();
        Ok(())
    }
}

struct FourSteps;
impl Saga<Bench> for FourSteps {
    const KIND: &'static str = "bench.saga";
    const STEP_TIMEOUT: Duration = Duration::from_secs(10);
    type State = u64;
    fn steps() -> Steps<Bench, u64> {
        Steps::new().then(Count).then(Count).then(Count).then(Count)
    }
}

struct Count;
impl Step<Bench, u64> for Count {
    fn name(&self) -> &'static str {
        "count"
    }
    async fn run(&self, bench: &Arc<Bench>, _job: &Running, state: &mut u64) -> Result<(), Failure> {
        *state += 1;
        bench.count();
        Ok(())
    }
    async fn undo(&self, _bench: &Arc<Bench>, _job: &Running, _state: &mut u64) -> Result<(), Failure> {
        Ok(())
    }
}

fn runner(bench: &Arc<Bench>, store: &Store) -> Runner<Bench> {
    let registry = Registry::new().job::<Trivial>().saga::<FourSteps>();
    Runner::new(bench.clone(), registry, store.clone(), Arc::new(SystemClock), Arc::new(SystemIds), Options::default())
}

/// Steps a second from the start of a runner until every job's end is durable.
async fn drain(store: &Store, jobs: u64, steps_each: u64) -> Result<f64> {
    let bench = Arc::new(Bench::default());
    let new = |i| match steps_each {
        1 => NewJob::new::<Bench, Trivial>(&i, "bench"),
        _ => NewJob::saga::<Bench, FourSteps>(&0, "bench"),
    };
    let mut tx = store.begin().await?;
    let all = (0..jobs).map(new).collect::<reeve_types::Result<Vec<_>>>()?;
    enqueue_many(&mut tx, SystemClock.now(), &SystemIds, all).await?;
    tx.commit().await?;
    let begin = SystemClock.now();
    let handle = runner(&bench, store).start();
    bench.wait_for(jobs * steps_each).await;
    until_finished(store).await?;
    let ms = SystemClock.now().ms_since(begin).max(1);
    handle.shutdown(Duration::from_secs(5)).await?;
    Ok((jobs * steps_each) as f64 * 1000.0 / ms as f64)
}

async fn until_finished(store: &Store) -> Result<()> {
    loop {
        let sql = "SELECT count(*) FROM jobs WHERE finished_at IS NULL AND kind IN ('bench.trivial', 'bench.saga')";
        let open: i64 = store.read().await?.one(sql, &[]).await?.get()?;
        if open == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Milliseconds from the call of enqueue, through its commit, to the body: the middle and the 99th of a hundred.
async fn latency(store: &Store, samples: usize) -> Result<(f64, f64)> {
    let bench = Arc::new(Bench::default());
    let handle = runner(&bench, store).start();
    let mut took_us = Vec::new();
    for i in 0..samples as u64 {
        *bench.started() = None;
        let begin = SystemClock.now();
        let mut tx = store.begin().await?;
        enqueue(&mut tx, begin, &SystemIds, NewJob::new::<Bench, Trivial>(&i, "bench")?).await?;
        tx.commit().await?;
        bench.wait_for(i + 1).await;
        let started = bench.started().unwrap_or(begin);
        took_us.push(started.0 - begin.0);
        // Between samples the runner comes to rest.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.shutdown(Duration::from_secs(5)).await?;
    took_us.sort_unstable();
    let at = |share: usize| took_us[(samples * share / 100).min(samples - 1)] as f64 / 1000.0;
    Ok((at(50), at(99)))
}
