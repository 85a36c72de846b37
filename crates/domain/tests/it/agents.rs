//! Enrollment, presence, and journals that are made to agree with the store.

use reeve_domain::agent::{self, Known, Refusal, Report, Stage, presence};
use reeve_domain::command::{self, Progress};
use reeve_domain::{enrollment_key, event, node};
use reeve_ports::Order;
use reeve_testkit::db::on_both;
use reeve_testkit::until;
use reeve_types::enrollment_key::KeyRefusal;
use reeve_types::event::NewEvent;
use reeve_types::execution::{ExecutionStatus, Outcome};
use reeve_types::node::NodeStatus;
use reeve_types::{Patch, Timestamp};

use crate::world::{START, World, all_are, everything, outcome};

const ID: &str = "0190a000-0000-7000-8000-000000000001";
const OTHER: &str = "0190a000-0000-7000-8000-000000000002";

#[tokio::test]
async fn keys_are_refused_in_the_documented_order() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let refused = |r: KeyRefusal| Refusal::Key(r);
        assert_eq!(w.enroll("nonsense", ID, 1).await.unwrap_err(), refused(KeyRefusal::InvalidKey));
        let expired = w.key("main", Some(1), Some(START.plus_ms(-1))).await;
        assert_eq!(w.enroll(&expired, ID, 1).await.unwrap_err(), refused(KeyRefusal::KeyExpired));
        let once = w.key("main", Some(1), None).await;
        w.enroll(&once, ID, 1).await.unwrap();
        assert_eq!(w.enroll(&once, OTHER, 2).await.unwrap_err(), refused(KeyRefusal::KeySpent));
        w.cluster("small", Some(1)).await;
        let many = w.key("small", None, None).await;
        w.enroll(&many, OTHER, 2).await.unwrap();
        let third = "0190a000-0000-7000-8000-000000000003";
        assert_eq!(w.enroll(&many, third, 3).await.unwrap_err(), refused(KeyRefusal::NodeLimitReached));
        let events = event::after(&w.app, &w.admin, 0, &[event::KEY_VERIFIED.to_owned()]).await.unwrap();
        let results: Vec<String> = events
            .iter()
            .map(|e| serde_json::from_str::<serde_json::Value>(&e.data).unwrap()["result"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(results, ["invalid_key", "key_expired", "verified", "key_spent", "verified", "node_limit_reached"]);
    })
    .await;
}

#[tokio::test]
async fn a_node_id_belongs_to_its_key_pair() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let key = w.key("main", None, None).await;
        let first = w.enroll(&key, ID, 1).await.unwrap();
        assert_eq!(w.enroll(&key, ID, 2).await.unwrap_err(), Refusal::NodeIdTaken);
        let again = w.enroll(&key, ID, 1).await.unwrap();
        assert_ne!(first.api_token.expose(), again.api_token.expose(), "secrets are fresh");
    })
    .await;
}

/// Awaits that somebody waits for what `tx` has locked, where writers do not take turns anyway.
async fn somebody_waits(w: &World) {
    if w.app.store.is_shared() {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        reeve_testkit::find("somebody to wait", async || {
            let mut tx = w.app.store.read().await.unwrap();
            let waiting: i64 = tx.one(sql, &[]).await.unwrap().get().unwrap();
            if waiting > 0 { Ok(()) } else { Err(waiting) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_of_a_key_gives_no_use_back() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let input = enrollment_key::Create { uses_remaining: Some(1), ..Default::default() };
        let key = enrollment_key::create(&w.app, &w.admin, "main", input).await.unwrap();
        let mut tx = w.app.store.begin().await.unwrap();
        assert!(reeve_store::enrollment_key::consume(&mut tx, &key.row.id, START).await.unwrap());
        let change = enrollment_key::Update { name: Patch::Set("spent".into()), ..Default::default() };
        let (changed, ()) = tokio::join!(enrollment_key::update(&w.app, &w.admin, &key.row.id, change), async {
            somebody_waits(&w).await;
            tx.commit().await.unwrap();
        });
        assert_eq!(changed.unwrap().row.uses_remaining, Some(0));
        let refused = w.enroll(key.key.expose(), ID, 1).await.unwrap_err();
        assert_eq!(refused, Refusal::Key(KeyRefusal::KeySpent));
    })
    .await;
}

#[tokio::test]
async fn labels_that_are_set_at_the_same_time_are_all_set() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let labels = |key: &str| std::collections::BTreeMap::from([(key.to_owned(), Some("x".to_owned()))]);
        let mut tx = w.app.store.begin().await.unwrap();
        reeve_store::node::by_id_for_update(&mut tx, &id).await.unwrap().unwrap();
        let both = async {
            tokio::join!(
                node::set_labels(&w.app, &w.admin, &id, labels("a")),
                node::set_labels(&w.app, &w.admin, &id, labels("b")),
            )
        };
        let ((a, b), ()) = tokio::join!(both, async {
            somebody_waits(&w).await;
            drop(tx);
        });
        assert!(a.is_ok() && b.is_ok());
        let labels = node::get(&w.app, &w.admin, &id).await.unwrap().node.labels;
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_attempt_consumes_nothing() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let key = w.key("main", None, None).await;
        w.enroll(&key, ID, 1).await.unwrap();
        let single = w.key("main", Some(1), None).await;
        assert_eq!(w.enroll(&single, ID, 9).await.unwrap_err(), Refusal::NodeIdTaken);
        w.enroll(&single, OTHER, 2).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_silent_node_becomes_unreachable_and_comes_back() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        w.disconnect(&id).await;
        w.clock.advance_ms(299_000);
        presence::sweep(&w.app).await.unwrap();
        let status = |view: node::View| view.node.status;
        assert_eq!(status(node::get(&w.app, &w.admin, &id).await.unwrap()), NodeStatus::Healthy);
        w.clock.advance_ms(2_000);
        presence::sweep(&w.app).await.unwrap();
        assert_eq!(status(node::get(&w.app, &w.admin, &id).await.unwrap()), NodeStatus::Unreachable);
        w.connect(&id).await;
        assert_eq!(status(node::get(&w.app, &w.admin, &id).await.unwrap()), NodeStatus::Healthy);
        let kinds = [event::NODE_STATUS_CHANGED.to_owned()];
        assert_eq!(event::after(&w.app, &w.admin, 0, &kinds).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn heartbeats_reach_the_store_in_batches() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        w.clock.advance_ms(60_000);
        agent::heartbeat(&w.app, &id, NodeStatus::Unhealthy);
        presence::flush(&w.app).await.unwrap();
        let node = node::get(&w.app, &w.admin, &id).await.unwrap().node;
        assert_eq!(node.status, NodeStatus::Unhealthy);
        assert_eq!(node.last_seen_at, Some(START.plus_ms(60_000)));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_beats_is_reachable_whatever_the_clock_did() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (id, silent) = (w.node("main").await, w.node("main").await);
        // A leap of the clock, or a pause of the server: the sweep comes before the beats are written.
        w.clock.advance_ms(3_600_000);
        presence::sweep(&w.app).await.unwrap();
        let status = async |id| node::get(&w.app, &w.admin, id).await.unwrap().node.status;
        assert_eq!(status(&id).await, NodeStatus::Unreachable);
        agent::heartbeat(&w.app, &id, NodeStatus::Healthy);
        presence::flush(&w.app).await.unwrap();
        assert_eq!((status(&id).await, status(&silent).await), (NodeStatus::Healthy, NodeStatus::Unreachable));
    })
    .await;
}

#[tokio::test]
async fn what_a_node_said_outlives_a_store_that_was_away() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        w.clock.advance_ms(60_000);
        w.app.store.administer("ALTER TABLE nodes RENAME TO away").await.unwrap();
        agent::heartbeat(&w.app, &id, NodeStatus::Unhealthy);
        // The server's own loop may have been first.
        presence::flush(&w.app).await.unwrap_or_default();
        w.app.store.administer("ALTER TABLE away RENAME TO nodes").await.unwrap();
        reeve_testkit::find("the beat in the store", async || {
            presence::flush(&w.app).await.unwrap();
            let node = node::get(&w.app, &w.admin, &id).await.unwrap().node;
            let seen = (node.status, node.last_seen_at);
            if seen == (NodeStatus::Unhealthy, Some(START.plus_ms(60_000))) { Ok(()) } else { Err(seen) }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn ids_that_no_database_takes_hold_nobody_up() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        for strange in ["e\0x", "", "\u{1b}[2J", &"x".repeat(10_000)] {
            agent::report(&w.app, &id, Report::Accepted(strange.into())).await;
            let known = vec![Known { execution_id: strange.into(), stage: Stage::Started }];
            w.connect_knowing(&id, known).await;
        }
        w.answer(&id, &execution, 0, "a\0b").await;
        w.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
        // Ids come in other ways, too.
        let mut tx = w.app.store.read().await.unwrap();
        assert!(reeve_store::execution::statuses(&mut tx, &["a\0b".into()]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_agent_does_not_write_the_future_down() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        let outcome = Outcome { completed_at: Some(Timestamp(i64::MAX)), ..outcome(&execution, 0, "") };
        agent::report(&w.app, &id, Report::Outcome(outcome)).await;
        let ended = w.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
        assert_eq!(ended[0].completed_at, Some(w.app.now()));
    })
    .await;
}

#[tokio::test]
async fn what_a_command_prints_without_an_end_does_not_fill_the_disk() {
    const PIECE: i64 = 16 * 1024;
    const KEPT: i64 = 512 * 1024;
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        w.answer_accepted(&id, &execution).await;
        let mut watch = command::watch_execution(&w.app, &w.admin, &execution, 0).await.unwrap();
        for number in 0..500 {
            let text = format!("{number:07}\n").repeat(PIECE as usize / 8);
            let offset = (number * PIECE) as u64;
            agent::report(&w.app, &id, Report::Output { execution_id: execution.clone(), offset, text }).await;
        }
        let end = 500 * PIECE;
        let sizes = async || {
            let mut tx = w.app.store.read().await.unwrap();
            let sql = "SELECT coalesce(sum(length(text)), 0), coalesce(max(start), 0) FROM execution_chunks";
            let mut row = tx.one(sql, &[]).await.unwrap();
            (row.get::<i64>().unwrap(), row.get::<i64>().unwrap())
        };
        let held = reeve_testkit::find("the last piece", async || {
            let (held, newest) = sizes().await;
            if newest == end - PIECE { Ok(held) } else { Err(newest) }
        })
        .await;
        assert!((KEPT..=2 * KEPT + 2 * PIECE).contains(&held), "{held}");

        // A reader is led over the gap, and told each byte once.
        let (mut at, mut told) = (0, 0);
        while at < end {
            let piece = reeve_domain::execution::output(&w.app, &w.admin, &execution, at).await.unwrap();
            assert!(piece.next_offset > at, "it stands still at {at}");
            told += piece.text.len() as i64;
            at = piece.next_offset;
        }
        assert_eq!((at, told), (end, held));
        let (mut at, mut told) = (0, 0);
        while at < end {
            let Some(Progress::Output { offset, next_offset, text, .. }) = watch.next().await.unwrap() else {
                panic!()
            };
            assert!(offset >= at && next_offset == offset + text.len() as i64, "{offset} after {at}");
            told += text.len() as i64;
            at = next_offset;
        }
        assert!((KEPT..=held).contains(&told), "{told}");
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_handed_over_when_the_agent_connects() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        w.disconnect(&id).await;
        let command = w.run(everything(), None).await;
        w.until(&command, all_are(ExecutionStatus::Pending, 1)).await;
        assert!(w.agents.runs(&id).is_empty());
        w.connect(&id).await;
        assert_eq!(w.agents.runs(&id).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_lost_its_journal_never_runs_a_command_again() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        agent::report(&w.app, &id, Report::Accepted(execution.clone())).await;
        w.until(&command, all_are(ExecutionStatus::Sent, 1)).await;
        w.disconnect(&id).await;
        w.agents.take(&id);
        w.connect(&id).await;
        let ended = w.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
        assert_eq!(ended[0].exit_code, Some(1));
        assert!(ended[0].output.as_ref().unwrap().contains("whether it ran is unknown"));
        assert!(w.agents.runs(&id).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_journalled_execution_goes_on_after_a_reconnect() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        w.disconnect(&id).await;
        w.agents.take(&id);
        let known = Known { execution_id: execution.clone(), stage: Stage::Started };
        w.connect_knowing(&id, vec![known]).await;
        w.until(&command, all_are(ExecutionStatus::Sent, 1)).await;
        agent::report(&w.app, &id, Report::Outcome(outcome(&execution, 0, "done"))).await;
        let ended = w.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
        assert_eq!(ended[0].output.as_deref(), Some("done"));
    })
    .await;
}

#[tokio::test]
async fn an_outcome_is_stored_once_and_always_answered() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let execution = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        w.answer(&id, &execution, 0, "first").await;
        w.until(&command, all_are(ExecutionStatus::Completed, 1)).await;
        w.agents.take(&id);
        agent::report(&w.app, &id, Report::Outcome(outcome(&execution, 5, "second"))).await;
        until("the answer", || w.agents.take(&id).contains(&Order::Stored(execution.clone()))).await;
        let rows = w.executions(&command).await;
        assert_eq!((rows[0].exit_code, rows[0].output.as_deref()), (Some(0), Some("first")));
        let kinds = [event::EXECUTION_COMPLETED.to_owned()];
        assert_eq!(event::after(&w.app, &w.admin, 0, &kinds).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_report_of_another_nodes_execution_is_refused() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (mine, other) = (w.node("main").await, w.node("main").await);
        let command = w.run(everything(), None).await;
        let rows = w.until(&command, all_are(ExecutionStatus::Pending, 2)).await;
        let execution = rows.iter().find(|e| e.node_id.as_ref() == Some(&mine)).unwrap().id.clone();
        w.agents.take(&other);
        agent::report(&w.app, &other, Report::Outcome(outcome(&execution, 0, "forged"))).await;
        until("the answer", || w.agents.take(&other).contains(&Order::Forget(execution.clone()))).await;
        assert!(w.executions(&command).await.iter().all(|e| e.status == ExecutionStatus::Pending));
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_a_rare_event_does_not_go_through_the_others_again() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let happen = async |kind: &'static str| {
            let event = NewEvent { kind, subject: String::new(), data: serde_json::json!({}) };
            let mut tx = w.app.store.begin().await.unwrap();
            tx.wake(reeve_store::Topic::Events);
            reeve_store::event::append(&mut tx, &*w.app.ids, w.app.now(), &[event]).await.unwrap();
            tx.commit().await.unwrap();
        };
        let rare = vec![event::NODE_REREGISTERED.to_owned()];
        let mut feed = event::follow(&w.app, &w.admin, Some(0), rare).await.unwrap();
        for _ in 0..10 {
            happen(event::NODE_REGISTERED).await;
        }
        let newest = event::position(&w.app, &w.admin).await.unwrap();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(300), feed.next()).await.is_err());
        assert_eq!(feed.position(), newest);
        happen(event::NODE_REREGISTERED).await;
        let told = tokio::time::timeout(reeve_testkit::PATIENCE, feed.next()).await.unwrap().unwrap();
        assert_eq!((told.kind.as_str(), told.seq), (event::NODE_REREGISTERED, newest + 1));
    })
    .await;
}
