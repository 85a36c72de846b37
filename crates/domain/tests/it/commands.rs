//! Commands from the asking to the last outcome: targeting, fan-out, cancelling, expiry, rollouts, watching.

use std::collections::BTreeMap;

use reeve_domain::command::{self, Progress, RolloutPlan};
use reeve_domain::{execution, node};
use reeve_ports::Order;
use reeve_testkit::db::on_both;
use reeve_testkit::{find, until};
use reeve_types::command::{TargetKind, Targeting};
use reeve_types::execution::ExecutionStatus;
use reeve_types::rollout::{BatchSize, RolloutState};
use reeve_types::selector::Selector;
use reeve_types::{ErrorKind, TextMatch};

use crate::world::{World, all_are, everything};

#[tokio::test]
async fn every_matching_node_gets_one_execution() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.cluster("two", None).await;
        let (a, b) = (w.node("main").await, w.node("two").await);
        let labels = BTreeMap::from([("env".to_owned(), Some("prod".to_owned()))]);
        node::set_labels(&w.app, &w.admin, &b, labels).await.unwrap();
        let count = |t: Targeting| async {
            let command = w.run(t, None).await;
            command::fan_out_waiting(&w.app).await.unwrap();
            w.executions(&command).await.len()
        };
        assert_eq!(count(everything()).await, 2);
        let only = |key: &str| Selector::parse(key).ok();
        assert_eq!(count(Targeting { labels: only("env=prod"), ..everything() }).await, 1);
        assert_eq!(count(Targeting { labels: only("env notin (prod)"), ..everything() }).await, 1);
        assert_eq!(count(Targeting { labels: only("!env,env"), ..everything() }).await, 0);
        let named = Targeting { kind: TargetKind::Nodes, node_ids: vec![a.clone(), "gone".into()], ..everything() };
        assert_eq!(count(named).await, 1);
        let mut clusters = Targeting { kind: TargetKind::Clusters, cluster_names: vec!["two".into()], ..everything() };
        assert_eq!(count(clusters.clone()).await, 1);
        clusters.clusters.name = Some(TextMatch::Wildcard("MAI*".into()));
        assert_eq!(count(clusters).await, 0, "filters narrow what was named");
    })
    .await;
}

/// SQLite takes patterns of up to 50,000 bytes; the surfaces let shorter ones in only.
#[tokio::test]
async fn a_command_that_cannot_be_fanned_out_holds_up_no_other() {
    on_both(|db| async move {
        let w = World::new(db).await;
        w.node("main").await;
        let mut endless = everything();
        endless.nodes.version = Some(TextMatch::Wildcard(format!("*{}", "a".repeat(60_000))));
        let bad = w.run(endless, None).await;
        let good = w.run(everything(), None).await;
        // SQLite says what it could not do, PostgreSQL finds no such node.
        if let Err(error) = command::fan_out_waiting(&w.app).await {
            assert_eq!(error.kind, ErrorKind::Internal);
        }
        assert_eq!(w.executions(&good).await.len(), 1);
        assert!(w.executions(&bad).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_bad_command_changes_nothing() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let nodes = Targeting { kind: TargetKind::Nodes, ..everything() };
        let error = w.try_run(nodes, None, Some(w.app.now())).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.details["node_ids"], ["is required when targeting_type is 'nodes'"]);
        assert_eq!(error.details["expired_at"], ["must be in the future"]);
    })
    .await;
}

#[tokio::test]
async fn cancelling_pending_and_sent() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let e = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        assert_eq!(execution::cancel(&w.app, &w.admin, &e).await.unwrap(), execution::Cancelled::AtOnce);
        let error = execution::cancel(&w.app, &w.admin, &e).await.unwrap_err();
        assert!(error.message.starts_with("cannot cancel execution with status 'cancelled'"));

        let command = w.run(everything(), None).await;
        let e = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        reeve_domain::agent::report(&w.app, &id, reeve_domain::agent::Report::Accepted(e.clone())).await;
        w.until(&command, all_are(ExecutionStatus::Sent, 1)).await;
        assert!(execution::delete(&w.app, &w.admin, &e).await.is_err());
        assert!(command::delete(&w.app, &w.admin, &command).await.is_err());
        assert_eq!(execution::cancel(&w.app, &w.admin, &e).await.unwrap(), execution::Cancelled::Asked);
        assert!(w.agents.take(&id).contains(&Order::Cancel(e.clone())));
        w.answer(&id, &e, 143, "Command cancelled\n").await;
        w.until(&command, all_are(ExecutionStatus::Cancelled, 1)).await;
        command::delete(&w.app, &w.admin, &command).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn cancelling_is_honest_about_an_agent_that_is_away() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let e = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        reeve_domain::agent::report(&w.app, &id, reeve_domain::agent::Report::Accepted(e.clone())).await;
        w.until(&command, all_are(ExecutionStatus::Sent, 1)).await;
        w.disconnect(&id).await;
        let error = execution::cancel(&w.app, &w.admin, &e).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(w.executions(&command).await[0].status, ExecutionStatus::Sent);
    })
    .await;
}

#[tokio::test]
async fn executions_expire_with_their_command() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        w.disconnect(&id).await;
        let command = w.try_run(everything(), None, Some(w.app.now().plus_ms(1_000))).await.unwrap();
        w.until(&command, all_are(ExecutionStatus::Pending, 1)).await;
        w.clock.advance_ms(2_000);
        execution::expire(&w.app).await.unwrap();
        let rows = w.executions(&command).await;
        assert_eq!((rows[0].status, rows[0].exit_code), (ExecutionStatus::Expired, None));
    })
    .await;
}

#[tokio::test]
async fn a_rollout_stops_at_too_many_failures_and_goes_on_when_told() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let mut nodes = Vec::new();
        for _ in 0..5 {
            nodes.push(w.node("main").await);
        }
        let plan = RolloutPlan { canary: 1, batch_size: BatchSize::Nodes(2), max_failures: Some(0) };
        let command = w.run(everything(), Some(plan)).await;
        let out = |w: &World| -> Vec<_> {
            nodes.iter().flat_map(|n| w.agents.runs(n).into_iter().map(|e| (n.clone(), e))).collect()
        };
        w.until(&command, all_are(ExecutionStatus::Pending, 5)).await;
        until("the canary to be asked", || !out(&w).is_empty()).await;
        assert_eq!(out(&w).len(), 1, "the canary alone");
        let (node, e) = out(&w).remove(0);
        w.answer(&node, &e, 1, "").await;
        let state = async || command::get(&w.app, &w.admin, &command).await.unwrap().command.rollout.unwrap();
        let stopped = find("the rollout to stop", async || match state().await {
            rollout if rollout.state == RolloutState::Running => Err(rollout),
            rollout => Ok(rollout),
        });
        let stopped = stopped.await;
        assert_eq!((stopped.state, stopped.failures), (RolloutState::Stopped, 1));
        assert_eq!(out(&w).len(), 1);
        command::resume(&w.app, &w.admin, &command).await.unwrap();
        until("the first batch to be asked", || out(&w).len() >= 3).await;
        command::pause(&w.app, &w.admin, &command).await.unwrap();
        for (node, e) in out(&w).into_iter().skip(1) {
            w.answer(&node, &e, 0, "").await;
        }
        w.until(&command, |rows| rows.iter().filter(|r| r.status.is_final()).count() == 3).await;
        command::abort(&w.app, &w.admin, &command).await.unwrap();
        let rows = w.until(&command, |rows| rows.iter().all(|r| r.status.is_final())).await;
        assert_eq!(rows.iter().filter(|r| r.status == ExecutionStatus::Cancelled).count(), 2);
        assert_eq!(state().await.state, RolloutState::Aborted);
    })
    .await;
}

#[tokio::test]
async fn a_watch_tells_every_byte_once() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let id = w.node("main").await;
        let command = w.run(everything(), None).await;
        let e = w.until(&command, all_are(ExecutionStatus::Pending, 1)).await[0].id.clone();
        let mut watch = command::watch(&w.app, &w.admin, &command, None).await.unwrap();
        let report = |r| reeve_domain::agent::report(&w.app, &id, r);
        report(reeve_domain::agent::Report::Accepted(e.clone())).await;
        report(reeve_domain::agent::Report::Output { execution_id: e.clone(), offset: 0, text: "one ".into() }).await;
        report(reeve_domain::agent::Report::Output { execution_id: e.clone(), offset: 4, text: "two ".into() }).await;
        let mut text = String::new();
        while text != "one two " {
            if let Progress::Output { text: more, node_id, .. } = watch.next().await.unwrap().unwrap() {
                // Also of output that is found before the row of its execution.
                assert_eq!(node_id.as_ref(), Some(&id));
                text.push_str(&more);
            }
        }
        let so_far = execution::output(&w.app, &w.admin, &e, 4).await.unwrap();
        assert_eq!((so_far.text.as_str(), so_far.next_offset, so_far.complete), ("two ", 8, false));
        w.answer(&id, &e, 0, "one two three").await;
        let mut ended = false;
        while let Some(progress) = watch.next().await.unwrap() {
            match progress {
                Progress::Output { text: more, .. } => text.push_str(&more),
                Progress::End(summary) => ended = summary.succeeded == 1,
                Progress::Execution(_) | Progress::Ended(_) => {}
            }
        }
        assert!(ended);
        assert_eq!(text, "one two three");
    })
    .await;
}
