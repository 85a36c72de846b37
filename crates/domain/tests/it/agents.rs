//! Enrollment, presence, and journals that are made to agree with the store.

use reeve_domain::agent::{self, Known, Refusal, Report, Stage, presence};
use reeve_domain::{event, node};
use reeve_ports::Order;
use reeve_testkit::db::on_both;
use reeve_testkit::until;
use reeve_types::enrollment_key::KeyRefusal;
use reeve_types::execution::ExecutionStatus;
use reeve_types::node::NodeStatus;

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
