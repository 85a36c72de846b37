//! Failing and trying again.

use reeve_jobs::Options;
use reeve_testkit::db::on_both;
use reeve_types::job::JobState;

use crate::support::Bench;

#[tokio::test]
async fn a_job_runs_once_and_is_succeeded() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("ok").await;
        bench.runner().run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.state, job.attempts, job.error), (JobState::Succeeded, 1, None));
        assert_eq!((job.started_at, job.finished_at), (Some(bench.now()), Some(bench.now())));
        bench.runner().run_until_idle().await.unwrap();
        assert_eq!(bench.yard.notes(), ["ok#1"]);
    })
    .await;
}

#[tokio::test]
async fn a_rolled_back_enqueue_leaves_no_job() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let mut tx = bench.store().begin().await.unwrap();
        let job = reeve_jobs::NewJob::new::<_, crate::support::Act>(&"ok".to_owned(), "test").unwrap();
        reeve_jobs::enqueue(&mut tx, bench.now(), &reeve_types::id::SystemIds, job).await.unwrap();
        drop(tx);
        bench.runner().run_until_idle().await.unwrap();
        assert!(bench.yard.notes().is_empty());
    })
    .await;
}

#[tokio::test]
async fn unavailable_is_tried_again_after_growing_pauses_until_it_gives_up() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("away").await;
        let mut runner = bench.runner();
        let mut pauses = Vec::new();
        loop {
            runner.run_until_idle().await.unwrap();
            let job = bench.get(&id).await;
            if job.state == JobState::Failed {
                assert_eq!(job.error.as_deref(), Some("gave up after 4 attempts: it is away"));
                break;
            }
            assert_eq!((job.state, job.error.as_deref()), (JobState::Queued, Some("it is away")));
            let pause_ms = job.run_at.ms_since(bench.now());
            pauses.push(pause_ms);
            // A moment too early nothing happens.
            bench.clock.advance_ms(pause_ms - 1);
            runner.run_until_idle().await.unwrap();
            assert_eq!(bench.yard.notes().len(), pauses.len());
            bench.clock.advance_ms(2);
        }
        let first = Options::default().backoff_first.as_millis() as i64;
        for (i, pause) in pauses.iter().enumerate() {
            let plain = first << i;
            assert!((plain * 8 / 10..=plain * 12 / 10).contains(pause), "pause {i} is {pause} ms");
        }
        assert_eq!(bench.yard.notes(), ["away#1", "away#2", "away#3", "away#4"]);
    })
    .await;
}

#[tokio::test]
async fn a_body_may_name_its_pause() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("later").await;
        bench.runner().run_until_idle().await.unwrap();
        assert_eq!(bench.get(&id).await.run_at, bench.now().plus_ms(30_000));
    })
    .await;
}

#[tokio::test]
async fn other_errors_and_panics_fail_at_once_and_can_be_retried_by_hand() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let refused = bench.enqueue("refuse").await;
        let panicked = bench.enqueue("panic").await;
        let mut runner = bench.runner();
        runner.run_until_idle().await.unwrap();
        let job = bench.get(&refused).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some("no")));
        let job = bench.get(&panicked).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some("Internal Server Error")));
        assert_eq!(bench.retry(&refused).await.state, JobState::Queued);
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&refused).await.state, JobState::Failed);
        assert_eq!(bench.yard.notes().iter().filter(|n| *n == "refuse#1").count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_for_its_time_and_unknown_kinds_wait_for_a_newer_server() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let job = reeve_jobs::NewJob::new::<_, crate::support::Act>(&"ok".to_owned(), "test").unwrap();
        let strange = reeve_jobs::NewJob { kind: "from.the.future", ..job.clone() };
        let later = bench.put(job.at(bench.now().plus_ms(5_000))).await;
        let strange = bench.put(strange).await;
        let mut runner = bench.runner();
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&later).await.state, JobState::Queued);
        bench.clock.advance_ms(5_000);
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&later).await.state, JobState::Succeeded);
        assert_eq!(bench.get(&strange).await.state, JobState::Queued);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_dropped_and_tried_again() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate never").await;
        let handle = bench.runner().start();
        bench.yard.reached("never").await;
        bench.clock.advance_ms(61_000);
        let job = bench.until(&id, |job| job.state == JobState::Queued).await;
        assert_eq!(job.error.as_deref(), Some("took longer than 60 s"));
        drop(handle);
    })
    .await;
}

#[tokio::test]
async fn old_jobs_are_pruned_with_their_output() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let old = bench.enqueue("print a|b").await;
        bench.runner().run_until_idle().await.unwrap();
        bench.clock.advance_ms(1_000);
        let young = bench.enqueue("print c").await;
        bench.runner().run_until_idle().await.unwrap();
        let mut tx = bench.store().begin().await.unwrap();
        assert_eq!(reeve_jobs::prune(&mut tx, bench.now(), 10).await.unwrap(), 1);
        assert!(reeve_jobs::get(&mut tx, &old).await.is_err());
        assert!(reeve_jobs::get(&mut tx, &young).await.is_ok());
        assert_eq!(reeve_jobs::read_output(&mut tx, &old, 0, 10).await.unwrap().text, "");
    })
    .await;
}
