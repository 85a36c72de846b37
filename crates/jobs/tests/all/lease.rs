//! Several runners, crashes and shutdowns.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, NewJob, Options, Registry, Runner, Running, Saga, Step, Steps};
use reeve_testkit::db::on_both;
use reeve_types::id::SystemIds;
use reeve_types::job::JobState;

use crate::support::{Act, Bench, Yard};

const PAST_LEASE_MS: i64 = 16_000;

#[tokio::test]
async fn another_runner_takes_over_once_the_lease_has_passed() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate crash").await;
        let killed = bench.runner().start();
        bench.yard.reached("crash").await;
        drop(killed);
        bench.yard.open("crash");
        let mut second = bench.runner();
        second.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&id).await.state, JobState::Running, "the lease still holds");
        bench.clock.advance_ms(PAST_LEASE_MS);
        second.run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.attempts), (JobState::Succeeded, 2));
        assert_eq!(bench.yard.notes(), ["gate crash#1", "gate crash#2", "gate crash through"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_alone_need_not_wait_for_leases() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate crash").await;
        let killed = bench.runner().start();
        bench.yard.reached("crash").await;
        drop(killed);
        bench.yard.open("crash");
        let options = Options { alone: true, ..Options::default() };
        let (store, clock) = (bench.store().clone(), bench.clock.clone());
        let registry = Registry::new().job::<Act>();
        let ids = Arc::new(SystemIds);
        let mut second = Runner::new(bench.yard.clone(), registry, store, clock, ids, options);
        second.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&id).await.state, JobState::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_keeps_a_long_job_where_it_is() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate long").await;
        let handle = bench.runner().start();
        bench.yard.reached("long").await;
        let mut other = bench.runner();
        for _ in 0..4 {
            bench.clock.advance_ms(10_000);
            let due = bench.now().plus_ms(14_000);
            bench.store().wake(reeve_store::Topic::Jobs);
            until_leased_past(&bench, due).await;
            other.run_until_idle().await.unwrap();
        }
        bench.yard.open("long");
        let job = bench.until_final(&id).await;
        assert_eq!((job.state, job.attempts), (JobState::Succeeded, 1));
        drop(handle);
    })
    .await;
}

async fn until_leased_past(bench: &Bench, at: reeve_types::Timestamp) {
    loop {
        let mut tx = bench.store().read().await.unwrap();
        let until: i64 = tx.one("SELECT min(lease_until) FROM jobs", &[]).await.unwrap().get().unwrap();
        if until >= at.0 {
            return;
        }
        drop(tx);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_runner_that_lost_its_lease_writes_nothing() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate late").await;
        let late = bench.runner().start();
        bench.yard.reached("late").await;
        // Somebody else has it: the row says so.
        let mut tx = bench.store().begin().await.unwrap();
        tx.execute("UPDATE jobs SET lease_owner = 'somebody else'", &[]).await.unwrap();
        tx.commit().await.unwrap();
        bench.yard.open("late");
        bench.until(&id, |_| bench.yard.notes().len() == 2).await;
        late.shutdown(Duration::from_secs(5)).await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.finished_at), (JobState::Running, None));
    })
    .await;
}

#[tokio::test]
async fn shutdown_waits_for_what_runs_and_claims_nothing_more() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let running = bench.enqueue("gate slow").await;
        let handle = bench.runner().start();
        bench.yard.reached("slow").await;
        let shutdown = tokio::spawn(handle.shutdown(Duration::from_secs(60)));
        tokio::task::yield_now().await;
        let waiting = bench.enqueue("ok").await;
        bench.yard.open("slow");
        shutdown.await.unwrap().unwrap();
        assert_eq!(bench.get(&running).await.state, JobState::Succeeded);
        assert_eq!(bench.get(&waiting).await.state, JobState::Queued);
    })
    .await;
}

#[tokio::test]
async fn shutdown_gives_back_what_does_not_end() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate stuck").await;
        let handle = bench.runner().start();
        bench.yard.reached("stuck").await;
        handle.shutdown(Duration::from_millis(1)).await.unwrap();
        assert_eq!(bench.get(&id).await.state, JobState::Queued);
        bench.yard.open("stuck");
        bench.runner().run_until_idle().await.unwrap();
        assert_eq!(bench.get(&id).await.state, JobState::Succeeded);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_takes_the_server_down_every_time_gives_up() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate poison").await;
        for attempt in 1..=4 {
            let handle = bench.runner().start();
            bench.until(&id, |job| job.attempts == attempt).await;
            drop(handle);
            bench.clock.advance_ms(PAST_LEASE_MS);
        }
        bench.runner().run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!(job.state, JobState::Failed);
        assert_eq!(job.error.as_deref(), Some("the server ended each time while it ran"));
    })
    .await;
}

#[tokio::test]
async fn two_runners_share_the_work_and_do_nothing_twice() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let jobs = (0..400).map(|i| NewJob::new::<_, Act>(&format!("ok {i}"), "test").unwrap()).collect();
        let mut tx = bench.store().begin().await.unwrap();
        reeve_jobs::enqueue_many(&mut tx, bench.now(), &SystemIds, jobs).await.unwrap();
        tx.commit().await.unwrap();
        let (mut a, mut b) = (bench.runner(), bench.runner());
        let (a, b) = tokio::join!(a.run_until_idle(), b.run_until_idle());
        a.unwrap();
        b.unwrap();
        let mut notes = bench.yard.notes();
        notes.sort();
        notes.dedup();
        assert_eq!((notes.len(), bench.yard.notes().len()), (400, 400));
    })
    .await;
}

/// One step that does many things, with a gate behind each.
struct Climb;
impl Saga<Yard> for Climb {
    const KIND: &'static str = "test.climb";
    const STEP_TIMEOUT: Duration = Duration::from_secs(60);
    const STEP_ATTEMPTS: i64 = 3;
    type State = u64;
    fn steps() -> Steps<Yard, u64> {
        Steps::new().then(Rungs)
    }
}

struct Rungs;
impl Step<Yard, u64> for Rungs {
    fn name(&self) -> &'static str {
        "rungs"
    }
    async fn run(&self, yard: &Arc<Yard>, job: &Running, rungs: &mut u64) -> Result<(), Failure> {
        for rung in 1..=*rungs {
            job.got_on(rung).await?;
            yard.pass(&format!("rung {rung}")).await;
        }
        Ok(())
    }
    async fn undo(&self, _: &Arc<Yard>, _: &Running, _: &mut u64) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn a_step_that_gets_on_may_be_killed_at_each_of_its_parts() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let climber = || bench.runner_of(Registry::new().saga::<Climb>());
        let id = bench.put(NewJob::saga::<Yard, Climb>(&8, "test").unwrap()).await;
        for rung in 1..=8 {
            let handle = climber().start();
            bench.yard.reached(&format!("rung {rung}")).await;
            drop(handle);
            bench.yard.open(&format!("rung {rung}"));
            bench.clock.advance_ms(PAST_LEASE_MS);
        }
        climber().run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.attempts), (JobState::Succeeded, 9));
    })
    .await;
}

#[tokio::test]
async fn a_step_that_gets_no_further_than_it_was_gives_up() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let climber = || bench.runner_of(Registry::new().saga::<Climb>());
        let id = bench.put(NewJob::saga::<Yard, Climb>(&2, "test").unwrap()).await;
        bench.yard.open("rung 1");
        for attempt in 1..=3 {
            let handle = climber().start();
            bench.until(&id, |job| job.attempts == attempt).await;
            bench.yard.reached("rung 2").await;
            drop(handle);
            bench.clock.advance_ms(PAST_LEASE_MS);
        }
        climber().run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!(job.state, JobState::Failed);
        assert_eq!(job.error.as_deref(), Some("rungs: the server ended each time while it ran"));
    })
    .await;
}
