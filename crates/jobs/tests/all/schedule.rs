//! Schedules: every tick once, whichever server does it.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Cron, NewJob, Registry, Schedule};
use reeve_store::schedule as table;
use reeve_testkit::db::on_both;
use reeve_types::{Error, Timestamp};

use crate::support::{Act, Bench, Yard};

fn registry() -> Registry<Yard> {
    let minute = Duration::from_secs(60);
    let enqueue = Schedule::enqueue("test.enqueue", minute, |_| NewJob::new::<Yard, Act>(&"ok".to_owned(), "schedule"));
    let inline = Schedule::run("test.inline", minute, |yard: Arc<Yard>| async move {
        yard.note("inline");
        Ok(())
    });
    Registry::new().job::<Act>().schedule(enqueue.with_jitter_percent(0)).schedule(inline.with_jitter_percent(0))
}

#[tokio::test]
async fn every_tick_is_done_once_by_two_runners() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let (mut a, mut b) = (bench.runner_of(registry()), bench.runner_of(registry()));
        for ticks in 0..5 {
            let (done_a, done_b) = tokio::join!(a.run_until_idle(), b.run_until_idle());
            done_a.unwrap();
            done_b.unwrap();
            let notes = bench.yard.notes();
            let count = |what: &str| notes.iter().filter(|n| *n == what).count();
            assert_eq!((count("ok#1"), count("inline")), (ticks, ticks));
            bench.clock.advance_ms(60_000);
        }
    })
    .await;
}

#[tokio::test]
async fn missed_ticks_are_made_up_for_by_one() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut runner = bench.runner_of(registry());
        runner.run_until_idle().await.unwrap();
        bench.clock.advance_ms(3_600_000);
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.yard.notes().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_put_ticks_off() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut runner = bench.runner_of(registry());
        runner.run_until_idle().await.unwrap();
        bench.clock.advance_ms(-3_600_000);
        runner.run_until_idle().await.unwrap();
        bench.clock.advance_ms(60_000);
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.yard.notes().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn jitter_moves_ticks_and_failures_are_reported() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let fails = Schedule::run("test.fails", Duration::from_secs(60), |_: Arc<Yard>| async {
            Err(Error::unavailable("not today"))
        });
        let mut runner = bench.runner_of(Registry::new().schedule(fails.with_jitter_percent(10)));
        runner.run_until_idle().await.unwrap();
        bench.clock.advance_ms(53_000);
        runner.run_until_idle().await.unwrap();
        assert_eq!(runner.status()[0].passes, 0);
        bench.clock.advance_ms(14_000);
        runner.run_until_idle().await.unwrap();
        let status = &runner.status()[0];
        assert_eq!((status.passes, status.failures, status.last_error.as_deref()), (1, 1, Some("not today")));
    })
    .await;
}

#[tokio::test]
async fn a_started_runner_ticks_by_itself() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let handle = bench.runner_of(registry()).start();
        // The first look makes the rows; from then on the clock decides.
        loop {
            bench.clock.advance_ms(1_000);
            if bench.yard.notes().len() >= 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
        handle.shutdown(Duration::from_secs(5)).await.unwrap();
    })
    .await;
}

fn noting(name: &'static str) -> Schedule<Yard> {
    Schedule::run(name, Duration::from_secs(60), move |yard: Arc<Yard>| async move {
        yard.note(name);
        Ok(())
    })
}

#[tokio::test]
async fn cron_decides_when_and_a_shorter_rhythm_is_not_held_up_by_the_stored_tick() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let by = |pattern| Registry::new().schedule(noting("test.cron").by_cron(Cron::parse("x", pattern).unwrap()));
        let mut yearly = bench.runner_of(by("0 0 1 1 *"));
        yearly.run_until_idle().await.unwrap();
        bench.clock.advance_ms(86_400_000);
        yearly.run_until_idle().await.unwrap();
        assert!(bench.yard.notes().is_empty());
        let mut hourly = bench.runner_of(by("0 * * * *"));
        hourly.run_until_idle().await.unwrap();
        let status = hourly.status().remove(0);
        assert_eq!((status.rhythm.as_str(), status.next_at), ("0 * * * *", Timestamp::parse("2023-11-15T23:00:00Z")));
        bench.clock.advance_ms(3_600_000);
        hourly.run_until_idle().await.unwrap();
        assert_eq!(bench.yard.notes(), ["test.cron"]);
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_is_off_is_listed_and_never_ticks() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut runner = bench.runner_of(Registry::new().schedule(noting("test.off").off_if(true)));
        runner.run_until_idle().await.unwrap();
        bench.clock.advance_ms(3_600_000);
        runner.run_until_idle().await.unwrap();
        assert!(bench.yard.notes().is_empty());
        assert!(runner.status()[0].off);
    })
    .await;
}

#[tokio::test]
async fn a_tick_that_is_asked_for_is_done_at_once_by_one_runner() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let registry = || Registry::new().schedule(noting("test.asked"));
        let (a, b) = (bench.runner_of(registry()).start(), bench.runner_of(registry()).start());
        while a.status()[0].next_at.is_none() || b.status()[0].next_at.is_none() {
            tokio::task::yield_now().await;
        }
        for ticks in 1..4 {
            bench.clock.advance_ms(1);
            let mut tx = bench.store().begin().await.unwrap();
            table::ask(&mut tx, "test.asked", bench.now()).await.unwrap();
            tx.commit().await.unwrap();
            while bench.yard.notes().len() < ticks {
                tokio::task::yield_now().await;
            }
        }
        a.shutdown(Duration::from_secs(5)).await.unwrap();
        b.shutdown(Duration::from_secs(5)).await.unwrap();
        assert_eq!(bench.yard.notes().len(), 3);
    })
    .await;
}
