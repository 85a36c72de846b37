//! Samples: taken in, written in batches, asked for, and too old.

use reeve_domain::node_metrics::{self, flush, note};
use reeve_domain::{admin_metrics, node, server};
use reeve_testkit::agents::sample;
use reeve_testkit::db::on_both;
use reeve_types::node::NodeFilter;
use reeve_types::node_metrics::{Host, Sample};
use reeve_types::{Actor, ErrorKind, NodeId, Page, Sort};

use crate::world::{START, World};

fn at(w: &World, ms: i64) {
    w.clock.advance_ms(START.plus_ms(ms).ms_since(w.app.now()));
}

fn with_load(hundredths: u32) -> Sample {
    let mut sample = sample();
    if let Some(host) = &mut sample.host {
        host.load_hundredths = Some([hundredths, 0, 0]);
        host.busy_permille = Some(1_000 - hundredths);
    }
    sample
}

fn load(sample: &Sample) -> u32 {
    sample.host.as_ref().unwrap().load_hundredths.unwrap()[0]
}

#[tokio::test]
async fn a_connected_node_is_asked_and_what_it_pushed_stands_in_for_five_minutes() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let read = async || node_metrics::read(&w.app, &w.admin, &id).await;
        let error = read().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(error.message, "the node did not answer in time, and it has sent no metrics in the last 5 minutes");

        w.agents.answers.lock().unwrap().insert(id.clone(), with_load(11));
        let live = read().await.unwrap();
        assert_eq!((load(&live.sample), live.taken_at, live.cluster_name.as_str()), (11, START, "main"));

        // Before it is written, after it is written, and up to the last moment of the five minutes.
        w.agents.answers.lock().unwrap().clear();
        note(&w.app, &id, with_load(22));
        assert_eq!(load(&read().await.unwrap().sample), 22);
        flush(&w.app).await.unwrap();
        at(&w, 300_000);
        w.disconnect(&id).await;
        let pushed = read().await.unwrap();
        assert_eq!((load(&pushed.sample), pushed.taken_at), (22, START));
        at(&w, 300_001);
        let error = read().await.unwrap_err();
        assert!(error.message.starts_with("the node is not connected, and"), "{}", error.message);
        let (cluster, nothing) = node_metrics::read_if_any(&w.app, &w.admin, &id).await.unwrap();
        assert_eq!((cluster.as_str(), nothing), ("main", None));
    })
    .await;
}

#[tokio::test]
async fn a_sample_is_one_row_and_the_newest_stays() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        for n in 0..50 {
            note(&w.app, &id, with_load(n));
            flush(&w.app).await.unwrap();
        }
        let mut tx = w.app.store.begin().await.unwrap();
        let older = [(id.clone(), START.plus_ms(-1), with_load(7))];
        reeve_store::node_metrics::put(&mut tx, &older).await.unwrap();
        let rows: i64 = tx.one("SELECT count(*) FROM node_metrics", &[]).await.unwrap().get().unwrap();
        tx.commit().await.unwrap();
        assert_eq!((rows, load(&node_metrics::read(&w.app, &w.admin, &id).await.unwrap().sample)), (1, 49));
        assert_eq!(w.app.counters.samples.get(), 50);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_deleted_meanwhile_spoils_no_batch() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (gone, stays) = (w.node("main").await, w.node("main").await);
        note(&w.app, &gone, with_load(1));
        flush(&w.app).await.unwrap();
        node::delete(&w.app, &w.admin, &gone).await.unwrap();
        note(&w.app, &gone, with_load(2));
        note(&w.app, &stays, with_load(3));
        flush(&w.app).await.unwrap();
        assert_eq!(load(&node_metrics::read(&w.app, &w.admin, &stays).await.unwrap().sample), 3);
        let error = node_metrics::read(&w.app, &w.admin, &gone).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        let mut tx = w.app.store.read().await.unwrap();
        let rows: i64 = tx.one("SELECT count(*) FROM node_metrics", &[]).await.unwrap().get().unwrap();
        assert_eq!(rows, 1);
    })
    .await;
}

#[tokio::test]
async fn the_fleet_is_sorted_filtered_and_without_those_that_fell_silent() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("other", None).await;
        let mut nodes = Vec::new();
        for (cluster, load) in [("main", 30), ("other", 10), ("main", 20)] {
            let id = w.node(cluster).await;
            note(&w.app, &id, with_load(load));
            nodes.push(id);
        }
        let blank = w.node("main").await;
        note(&w.app, &blank, Sample { host: Some(Host::default()), agent: None });
        flush(&w.app).await.unwrap();
        let list = async |cluster: Option<&str>, field: &str, descending, size| {
            let filter =
                NodeFilter { cluster_name: cluster.map(reeve_types::TextMatch::parse_prose), ..Default::default() };
            let sorts = [Sort { field: field.into(), descending }];
            let page = Page { number: 1, size };
            let found = node_metrics::list(&w.app, &w.admin, &filter, &sorts, page, false).await.unwrap();
            (found.items.into_iter().map(|row| row.node.id).collect::<Vec<NodeId>>(), found.total)
        };
        let [a, b, c] = &nodes[..] else { panic!("three nodes") };
        let order = |ids: &[&NodeId]| ids.iter().map(|id| (*id).clone()).collect::<Vec<_>>();
        assert_eq!(list(None, "load_1m", true, 10).await, (order(&[a, c, b, &blank]), 4));
        assert_eq!(list(None, "load_1m", false, 10).await, (order(&[b, c, a, &blank]), 4));
        assert_eq!(list(None, "cpu_usage_percent", true, 1).await, (order(&[b]), 4));
        assert_eq!(list(Some("main"), "nonsense", false, 10).await, (order(&[a, c, &blank]), 3));
        at(&w, 200_000);
        note(&w.app, b, with_load(40));
        flush(&w.app).await.unwrap();
        at(&w, 300_001);
        assert_eq!(list(None, "load_1m", true, 10).await, (order(&[b]), 1));
    })
    .await;
}

#[tokio::test]
async fn a_live_list_asks_those_whose_sample_is_not_fresh() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (answers, silent) = (w.node("main").await, w.node("main").await);
        note(&w.app, &answers, with_load(20));
        note(&w.app, &silent, with_load(10));
        flush(&w.app).await.unwrap();
        w.agents.answers.lock().unwrap().insert(answers.clone(), with_load(5));
        let loads = async |live| {
            let all = NodeFilter::default();
            let found = node_metrics::list(&w.app, &w.admin, &all, &[], Page::default(), live).await.unwrap();
            found.items.iter().map(|row| load(&row.sample)).collect::<Vec<_>>()
        };
        assert_eq!((loads(true).await, w.app.counters.questions.get()), (vec![20, 10], 0));
        at(&w, 2_001);
        assert_eq!(loads(false).await, [20, 10]);
        assert_eq!(loads(true).await, [10, 5]);
        assert_eq!((w.app.counters.questions.get(), w.app.counters.questions_unanswered.get()), (2, 1));
        // What was heard is remembered for others.
        assert_eq!(loads(false).await, [5, 10]);
    })
    .await;
}

#[tokio::test]
async fn the_servers_own_numbers_are_true() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("other", None).await;
        let id = w.node("main").await;
        let about = server::About { version: "1.0.0".into(), listeners: "{}".into() };
        server::join(&w.app, about).await.unwrap();
        let me = admin_metrics::me(&w.app, &w.admin).await.unwrap();
        assert_eq!((me.agents, me.degraded, me.clusters, me.orphans), (1, false, 2, 0));
        at(&w, 90_000);
        let me = admin_metrics::me(&w.app, &w.admin).await.unwrap();
        assert_eq!(me.uptime_ms, 90_000);
        assert!(me.process.resident_bytes.unwrap() > 1 << 20);
        let before = w.app.counters.heartbeats.get();
        for _ in 0..3 {
            reeve_domain::agent::heartbeat(&w.app, &id, reeve_types::node::NodeStatus::Healthy);
        }
        assert_eq!(w.app.counters.heartbeats.get() - before, 3);
        assert_eq!(admin_metrics::me(&w.app, &Actor::anonymous()).await.unwrap_err().kind, ErrorKind::Unauthenticated);
    })
    .await;
}
