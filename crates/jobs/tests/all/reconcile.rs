//! Reconcilers: timer, poke, topic, one at a time, one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reeve_jobs::{Loop, Reconciler, ReconcilerStatus, Registry};
use reeve_store::{Topic, schedule as table};
use reeve_testkit::db::on_both;
use reeve_types::{Error, Result};

use crate::support::{Bench, Yard};

struct Note;
impl Reconciler<Yard> for Note {
    const NAME: &'static str = "note";
    const EVERY: Duration = Duration::from_secs(60);
    const TOPIC: Option<Topic> = Some(Topic::Executions);
    async fn pass(&self, yard: &Arc<Yard>) -> Result<()> {
        yard.note("pass");
        Ok(())
    }
}

struct Slow(AtomicBool);
impl Reconciler<Yard> for Slow {
    const NAME: &'static str = "slow";
    const EVERY: Duration = Duration::from_secs(60);
    async fn pass(&self, yard: &Arc<Yard>) -> Result<()> {
        assert!(!self.0.swap(true, Ordering::SeqCst), "two passes at a time");
        yard.note("slow begins");
        yard.pass("slow").await;
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

struct Flaky(AtomicBool);
impl Reconciler<Yard> for Flaky {
    const NAME: &'static str = "flaky";
    const EVERY: Duration = Duration::from_secs(60);
    async fn pass(&self, _yard: &Arc<Yard>) -> Result<()> {
        if self.0.swap(true, Ordering::SeqCst) { Ok(()) } else { Err(Error::unavailable("no answer")) }
    }
}

struct Alone;
impl Reconciler<Yard> for Alone {
    const NAME: &'static str = "alone";
    const EVERY: Duration = Duration::from_secs(60);
    const ONE_SERVER: bool = true;
    async fn pass(&self, yard: &Arc<Yard>) -> Result<()> {
        yard.note("alone");
        Ok(())
    }
}

#[tokio::test]
async fn passes_come_by_timer_by_poke_and_by_topic() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let registry = Registry::new().reconciler(Note);
        let pokes = registry.pokes();
        let mut runner = bench.runner_of(registry);
        let mut passes = async || {
            runner.run_until_idle().await.unwrap();
            bench.yard.notes().len()
        };
        assert_eq!(passes().await, 1, "at the start");
        assert_eq!(passes().await, 1);
        bench.clock.advance_ms(-3_600_000);
        assert_eq!(passes().await, 2, "a clock that was set back does not put passes off by an hour");
        assert_eq!(passes().await, 2);
        bench.clock.advance_ms(3_600_000);
        assert_eq!(passes().await, 3);
        bench.clock.advance_ms(66_001);
        assert_eq!(passes().await, 4, "by timer");
        assert!(pokes.poke("note") && !pokes.poke("nobody"));
        assert_eq!(passes().await, 5, "by poke");
        bench.store().wake(Topic::Executions);
        assert_eq!(passes().await, 6, "by topic");
        assert_eq!(passes().await, 6);
    })
    .await;
}

#[tokio::test]
async fn a_poke_during_a_pass_leads_to_another_after_it() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let handle = bench.runner_of(Registry::new().reconciler(Slow(AtomicBool::new(false))).reconciler(Note)).start();
        bench.yard.reached("slow").await;
        assert!(handle.poke("slow"));
        assert!(handle.status().iter().any(|s| s.name == "slow" && s.running));
        bench.yard.open("slow");
        loop {
            if bench.yard.notes().iter().filter(|n| *n == "slow begins").count() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
        handle.shutdown(Duration::from_secs(5)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn failures_are_reported_and_forgotten_after_a_good_pass() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut runner = bench.runner_of(Registry::new().reconciler(Flaky(AtomicBool::new(false))));
        runner.run_until_idle().await.unwrap();
        let status = runner.status().remove(0);
        assert_eq!(
            (status.failures, status.last_error.as_deref(), status.last_success_at),
            (1, Some("no answer"), None)
        );
        bench.clock.advance_ms(66_001);
        runner.run_until_idle().await.unwrap();
        let (name, last_success_at) = ("flaky", Some(bench.now()));
        let status = runner.status().remove(0);
        assert!(status.next_at > last_success_at && status.last_started_at == last_success_at);
        let expected =
            ReconcilerStatus { name, passes: 2, failures: 1, last_success_at, ..ReconcilerStatus::default() };
        let (rhythm, next_at, last_started_at) = ("every 1m".to_owned(), status.next_at, status.last_started_at);
        assert_eq!(status, ReconcilerStatus { rhythm, next_at, last_started_at, ..expected });
    })
    .await;
}

#[tokio::test]
async fn one_server_passes_and_another_takes_over_when_it_is_gone() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut first = bench.runner_of(Registry::new().reconciler(Alone));
        let mut second = bench.runner_of(Registry::new().reconciler(Alone));
        for passes in 1..4 {
            first.run_until_idle().await.unwrap();
            second.run_until_idle().await.unwrap();
            assert_eq!((first.status()[0].passes, second.status()[0].passes), (passes, 0));
            bench.clock.advance_ms(66_001);
        }
        drop(first);
        bench.clock.advance_ms(120_000);
        second.run_until_idle().await.unwrap();
        assert_eq!(second.status()[0].passes, 1);
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_is_asked_for_comes_on_every_server_that_may() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let here = || {
            Loop::<Yard>::new("here", Duration::from_secs(60), |yard| {
                Box::pin(async move {
                    yard.note("here");
                    Ok(())
                })
            })
        };
        let registry = || Registry::new().looping(here()).reconciler(Alone);
        let (mut first, mut second) = (bench.runner_of(registry()), bench.runner_of(registry()));
        let notes = async |runner: &mut reeve_jobs::Runner<Yard>| {
            let before = bench.yard.notes().len();
            runner.run_until_idle().await.unwrap();
            bench.yard.notes()[before..].join(" ")
        };
        assert_eq!((notes(&mut first).await.as_str(), notes(&mut second).await.as_str()), ("here alone", "here"));
        assert_eq!((notes(&mut first).await.as_str(), notes(&mut second).await.as_str()), ("", ""));
        for (name, at_first, at_second) in [("here", "here", "here"), ("alone", "alone", "")] {
            let mut woken = bench.store().subscribe(Topic::Schedules);
            let mut tx = bench.store().begin().await.unwrap();
            table::ask(&mut tx, &format!("reconciler {name}"), bench.now()).await.unwrap();
            tx.commit().await.unwrap();
            woken.changed().await.unwrap();
            assert_eq!((notes(&mut first).await.as_str(), notes(&mut second).await.as_str()), (at_first, at_second));
            bench.clock.advance_ms(1);
        }
    })
    .await;
}
