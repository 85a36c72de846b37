//! Stopping jobs that wait and jobs that run.

use reeve_testkit::db::on_both;
use reeve_types::ErrorKind;
use reeve_types::job::JobState;

use crate::support::Bench;

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("ok").await;
        assert_eq!(bench.cancel(&id).await.state, JobState::Cancelled);
        bench.runner().run_until_idle().await.unwrap();
        assert!(bench.yard.notes().is_empty());
        let mut tx = bench.store().begin().await.unwrap();
        let error = reeve_jobs::cancel(&mut tx, &id, bench.now()).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Conflict, "the job has already been cancelled"));
    })
    .await;
}

#[tokio::test]
async fn a_job_between_two_tries_is_cancelled_without_another() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("away").await;
        let mut runner = bench.runner();
        runner.run_until_idle().await.unwrap();
        bench.cancel(&id).await;
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.get(&id).await.state, JobState::Cancelled);
        assert_eq!(bench.yard.notes(), ["away#1"]);
    })
    .await;
}

#[tokio::test]
async fn a_running_job_is_told_and_ends_as_cancelled() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("until-cancelled here").await;
        let handle = bench.runner().start();
        bench.yard.reached("here").await;
        assert_eq!(bench.cancel(&id).await.state, JobState::Running);
        let job = bench.until_final(&id).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some("stopped half-way")));
        handle.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_job_that_does_not_stop_is_dropped_after_the_grace() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("gate deaf").await;
        let handle = bench.runner().start();
        bench.yard.reached("deaf").await;
        bench.cancel(&id).await;
        // The grace begins when the runner hears of it; the clock moves on until it is over.
        let job = loop {
            bench.clock.advance_ms(20);
            let job = bench.get(&id).await;
            if job.state.is_final() {
                break job;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(job.state, JobState::Cancelled);
        assert_eq!(job.attempts, 1);
        drop(handle);
    })
    .await;
}
