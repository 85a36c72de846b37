//! Drains trivial jobs and measures the way from enqueue to start: `cargo run --release -p reeve-jobs --example bench_jobs`.
//!
//! On SQLite, and on PostgreSQL when REEVE_TEST_POSTGRES_URL names a server. Arguments: jobs, then samples of the latency.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reeve_jobs::{Body, Failure, NewJob, Options, Registry, Runner, Running, Saga, Step, Steps, enqueue, enqueue_many};
use reeve_store::Store;
use reeve_testkit::db::{POSTGRES_URL, TestDb};
use reeve_types::id::SystemIds;
use reeve_types::{Clock, SystemClock, Timestamp};
use tokio::sync::Notify;

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
}

struct Trivial;
impl Body<Bench> for Trivial {
    const KIND: &'static str = "bench.trivial";
    const TIMEOUT: Duration = Duration::from_secs(10);
    type Payload = u64;
    async fn run(bench: &Arc<Bench>, _job: &Running, _payload: u64) -> Result<(), Failure> {
        bench.started.lock().unwrap().get_or_insert(SystemClock.now());
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

async fn until_finished(store: &Store) {
    loop {
        let mut tx = store.read().await.unwrap();
        let sql = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";
        let open: i64 = tx.one(sql, &[]).await.unwrap().get().unwrap();
        if open == 0 {
            return;
        }
        drop(tx);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn drain(name: &str, db: &TestDb, what: &str, jobs: u64, steps_each: u64) {
    let bench = Arc::new(Bench::default());
    let mut tx = db.store.begin().await.unwrap();
    let new = |i| match steps_each {
        1 => NewJob::new::<Bench, Trivial>(&i, "bench").unwrap(),
        _ => NewJob::saga::<Bench, FourSteps>(&0, "bench").unwrap(),
    };
    enqueue_many(&mut tx, SystemClock.now(), &SystemIds, (0..jobs).map(new).collect()).await.unwrap();
    tx.commit().await.unwrap();
    let begin = SystemClock.now();
    let handle = runner(&bench, &db.store).start();
    bench.wait_for(jobs * steps_each).await;
    until_finished(&db.store).await;
    let ms = SystemClock.now().ms_since(begin).max(1);
    println!(
        "{name:<10}{what:<28}{:>8} steps/s   ({} steps in {ms} ms)",
        jobs * steps_each * 1000 / ms as u64,
        jobs * steps_each
    );
    handle.shutdown(Duration::from_secs(5)).await.unwrap();
}

async fn latency(name: &str, db: &TestDb, samples: usize) {
    let bench = Arc::new(Bench::default());
    let handle = runner(&bench, &db.store).start();
    let mut took_us = Vec::new();
    for i in 0..samples as u64 {
        *bench.started.lock().unwrap() = None;
        let begin = SystemClock.now();
        let mut tx = db.store.begin().await.unwrap();
        let job = NewJob::new::<Bench, Trivial>(&i, "bench").unwrap();
        enqueue(&mut tx, begin, &SystemIds, job).await.unwrap();
        tx.commit().await.unwrap();
        bench.wait_for(i + 1).await;
        let started = bench.started.lock().unwrap().unwrap();
        took_us.push(started.0 - begin.0);
        // Between samples the runner comes to rest.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took_us.sort_unstable();
    let at = |share: usize| took_us[(samples * share / 100).min(samples - 1)] as f64 / 1000.0;
    println!(
        "{name:<10}enqueue (with its commit) to start: p50 {:.2} ms, p99 {:.2} ms   ({samples} samples)",
        at(50),
        at(99)
    );
    handle.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let jobs = numbers.next().unwrap_or(50_000);
    let samples = numbers.next().unwrap_or(300) as usize;
    let mut dbs = vec![("sqlite", TestDb::sqlite().await)];
    if std::env::var(POSTGRES_URL).is_ok() {
        dbs.push(("postgres", TestDb::postgres().await));
    }
    for (name, db) in &dbs {
        drain(name, db, "jobs of one step", jobs, 1).await;
        drain(name, db, "sagas of four steps", jobs / 10, 4).await;
        latency(name, db, samples).await;
    }
}
