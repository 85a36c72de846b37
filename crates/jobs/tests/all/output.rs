//! Output: in order, from any offset, while it grows, and bounded.

use reeve_jobs::{Filter, HEAD_BYTES, NewJob, TAIL_BYTES};
use reeve_testkit::db::on_both;
use reeve_types::job::JobState;
use reeve_types::{Page, TextMatch};

use crate::support::{Act, Bench, Yard};

#[tokio::test]
async fn output_is_read_in_order_from_any_offset() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("print eins |zwei ü|\0 three").await;
        bench.runner().run_until_idle().await.unwrap();
        let whole = "eins zwei ü\u{2400} three";
        assert_eq!(bench.read(&id, 0, 1000).await, (whole.to_owned(), whole.len() as i64));
        for from in 0..=whole.len() {
            let start = (from..=whole.len()).find(|i| whole.is_char_boundary(*i)).unwrap();
            let expected = (whole[start..].to_owned(), whole.len() as i64);
            assert_eq!(
                bench.read(&id, from as i64, 1000).await,
                if start == whole.len() {
                    (String::new(), bench.read(&id, from as i64, 1000).await.1)
                } else {
                    expected
                }
            );
        }
        let (mut text, mut at) = (String::new(), 0);
        loop {
            let (more, next) = bench.read(&id, at, 3).await;
            if more.is_empty() {
                break;
            }
            assert!(more.len() <= 3 && next == at + more.len() as i64);
            text.push_str(&more);
            at = next;
        }
        assert_eq!(text, whole);
    })
    .await;
}

#[tokio::test]
async fn output_can_be_read_while_it_grows() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("print-gate more").await;
        let mut news = bench.store().subscribe(reeve_store::Topic::Output);
        let handle = bench.runner().start();
        let (text, next) = loop {
            let read = bench.read(&id, 0, 100).await;
            if !read.0.is_empty() {
                break read;
            }
            news.changed().await.unwrap();
        };
        assert_eq!((text.as_str(), next), ("first ü ", 9));
        assert_eq!(bench.get(&id).await.state, JobState::Running);
        assert_eq!(bench.read(&id, next, 100).await, (String::new(), next));
        bench.yard.open("more");
        bench.until_final(&id).await;
        assert_eq!(bench.read(&id, next, 100).await, ("second\n".to_owned(), 16));
        drop(handle);
    })
    .await;
}

#[tokio::test]
async fn a_second_try_appends_to_the_output_of_the_first() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = bench.enqueue("print once|").await;
        let mut runner = bench.runner();
        runner.run_until_idle().await.unwrap();
        let mut tx = bench.store().begin().await.unwrap();
        tx.execute("UPDATE jobs SET state = 'failed'", &[]).await.unwrap();
        tx.commit().await.unwrap();
        bench.retry(&id).await;
        runner.run_until_idle().await.unwrap();
        assert_eq!(bench.read(&id, 0, 100).await.0, "onceonce");
    })
    .await;
}

#[tokio::test]
async fn the_middle_of_a_flood_is_dropped_and_marked() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let lines = 250_000i64;
        let id = bench.enqueue(&format!("flood {lines}")).await;
        bench.runner().run_until_idle().await.unwrap();
        let total = lines * 14;
        let (text, next) = bench.read(&id, 0, usize::MAX).await;
        assert_eq!(next, total);
        assert!(text.starts_with("line 00000000\n") && text.ends_with(&format!("line {:08}\n", lines - 1)));
        let marker = text.find("...[truncated: ").unwrap();
        let omitted = text[marker + 15..].split(' ').next().unwrap().parse::<i64>().unwrap();
        let rest = text[marker..].find('\n').unwrap() + 1;
        let tail = text.len() - marker - rest;
        assert!(marker as i64 >= HEAD_BYTES && tail as i64 >= TAIL_BYTES);
        assert!(text.len() < 1_400_000, "{} bytes were kept", text.len());
        let head = text[..marker].trim_end_matches('\n').len() as i64;
        assert!((head + omitted + tail as i64 - total).abs() <= 1);
        // From within the gap one is told what is missing from there.
        let middle = total / 2;
        let (text, _) = bench.read(&id, middle, 100).await;
        assert!(text.starts_with("...[truncated: "), "{text}");
        let (text, _) = bench.read(&id, total - 14, 100).await;
        assert_eq!(text, format!("line {:08}\n", lines - 1));
    })
    .await;
}

#[tokio::test]
async fn what_a_job_says_of_its_progress_is_stored_and_lists_find_what_it_is_about() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let job = NewJob::new::<Yard, Act>(&"measure".to_owned(), "test").unwrap().about("node-1");
        let id = bench.put(job).await;
        bench.enqueue("ok").await;
        bench.runner().run_until_idle().await.unwrap();
        let job = bench.get(&id).await;
        assert_eq!((job.done, job.total, job.subject.as_str()), (Some(3), Some(3), "node-1"));
        let mut tx = bench.store().read().await.unwrap();
        let filter = Filter { subject: Some(TextMatch::parse("node-1")), ..Filter::default() };
        let found = reeve_jobs::list(&mut tx, &filter, Page { number: 1, size: 10 }).await.unwrap();
        assert_eq!(found.items, [job]);
    })
    .await;
}
