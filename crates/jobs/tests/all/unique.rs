//! Unique keys, lists and many at once.

use reeve_jobs::{Filter, NewJob, enqueue_many};
use reeve_testkit::db::on_both;
use reeve_types::id::SystemIds;
use reeve_types::job::JobState;
use reeve_types::{Page, TextMatch};

use crate::support::{Act, Bench};

#[tokio::test]
async fn a_unique_key_gives_the_unfinished_job_with_it() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let job = || NewJob::new::<_, Act>(&"refuse".to_owned(), "test").unwrap().unique("the key");
        let first = bench.put(job()).await;
        assert_eq!(bench.put(job()).await, first);
        bench.runner().run_until_idle().await.unwrap();
        let second = bench.put(job()).await;
        assert_ne!(second, first);
        // The first one cannot come back while the second is under way.
        let mut tx = bench.store().begin().await.unwrap();
        let error = reeve_jobs::retry(&mut tx, &first, bench.now()).await.unwrap_err();
        assert_eq!(error.message, "another job of this kind is already under way");
        drop(tx);
        bench.runner().run_until_idle().await.unwrap();
        assert_eq!(bench.yard.notes().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn two_at_once_with_one_key_are_one_job() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let job = || NewJob::new::<_, Act>(&"ok".to_owned(), "test").unwrap().unique("the key");
        let (a, b, c) = tokio::join!(bench.put(job()), bench.put(job()), bench.put(job()));
        assert!(a == b && b == c);
    })
    .await;
}

#[tokio::test]
async fn many_go_in_at_once_and_are_listed_by_state() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let jobs = (0..250).map(|i| {
            let what = if i % 5 == 0 { "refuse" } else { "ok" };
            NewJob::new::<_, Act>(&what.to_owned(), "test").unwrap().unique(format!("key {}", i / 2))
        });
        let mut tx = bench.store().begin().await.unwrap();
        assert_eq!(enqueue_many(&mut tx, bench.now(), &SystemIds, jobs.collect()).await.unwrap(), 125);
        tx.commit().await.unwrap();
        let mut tx = bench.store().read().await.unwrap();
        assert_eq!(reeve_jobs::backlog(&mut tx, bench.now()).await.unwrap().waiting, 125);
        drop(tx);
        bench.runner().run_until_idle().await.unwrap();
        let mut tx = bench.store().read().await.unwrap();
        let filter = Filter { states: vec![JobState::Failed], kind: Some(TextMatch::parse("test.act")), subject: None };
        let failed = reeve_jobs::list(&mut tx, &filter, Page { number: 2, size: 10 }).await.unwrap();
        assert_eq!((failed.total, failed.items.len()), (25, 10));
        let all = reeve_jobs::list(&mut tx, &Filter::default(), Page { number: 1, size: 10 }).await.unwrap();
        assert_eq!(all.total, 125);
        assert_eq!(reeve_jobs::backlog(&mut tx, bench.now()).await.unwrap().oldest_at, None);
    })
    .await;
}
