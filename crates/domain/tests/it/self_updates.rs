//! Self-update requests: who is asked, what comes back, in batches, over lost connections and silence.

use reeve_domain::self_update::{self, ANSWER_WITHIN_MS};
use reeve_domain::{event, node};
use reeve_ports::Order;
use reeve_store::node as nodes;
use reeve_testkit::db::on_both;
use reeve_testkit::find;
use reeve_types::node::NodeStatus;
use reeve_types::rollout::{BatchSize, RolloutPlan, RolloutState};
use reeve_types::self_update::{SelfUpdateFilter, SelfUpdateState, SelfUpdateStatus, SelfUpdateSummary};
use reeve_types::{Actor, ErrorKind, NodeId, Page, SelfUpdateRequestId};
use serde_json::{Value, json};

use crate::world::{World, everything};

async fn taking_part(w: &World) -> NodeId {
    let id = w.node("main").await;
    w.connect_taking_part(&id).await;
    id
}

async fn ask(w: &World, rollout: Option<RolloutPlan>) -> SelfUpdateRequestId {
    let input = self_update::Create { targeting: everything(), targeting_document: json!({"type": "all"}), rollout };
    let id = self_update::create(&w.app, &w.admin, input).await.unwrap().request.id;
    pass(w).await;
    id
}

async fn pass(w: &World) {
    // The reconciler runs beside the test, so a pass may find that the other one did it.
    for _ in 0..2 {
        self_update::advance_all(&w.app).await.unwrap();
    }
}

async fn get(w: &World, id: &SelfUpdateRequestId) -> self_update::View {
    self_update::get(&w.app, &w.admin, id).await.unwrap()
}

async fn until(
    w: &World,
    id: &SelfUpdateRequestId,
    condition: impl Fn(&self_update::View) -> bool,
) -> self_update::View {
    find("the request to be so", async || {
        let last = get(w, id).await;
        if condition(&last) { Ok(last) } else { Err(last) }
    })
    .await
}

/// The requests that a node was asked about.
fn asked(w: &World, node: &NodeId) -> Vec<SelfUpdateRequestId> {
    let orders = w.agents.take(node);
    orders.into_iter().filter_map(|o| if let Order::SelfUpdate(id) = o { Some(id) } else { None }).collect()
}

/// Awaits the one order that a node gets; it may follow the commit that says so.
async fn asked_once(w: &World, node: &NodeId, id: &SelfUpdateRequestId) {
    let orders =
        find("the node to be asked", async || Some(asked(w, node)).filter(|o| !o.is_empty()).ok_or(node)).await;
    assert_eq!(orders, std::slice::from_ref(id));
}

async fn answer(w: &World, node: &NodeId, id: &SelfUpdateRequestId, triggered: bool, reason: &str) {
    self_update::answered(&w.app, node, id, triggered, reason).await.unwrap();
}

async fn events(w: &World, kind: &str) -> Vec<Value> {
    let found = event::after(&w.app, &Actor::system(), 0, &[kind.to_owned()]).await.unwrap();
    found.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
}

#[tokio::test]
async fn healthy_nodes_that_take_part_are_asked_and_answer() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (a, b, ill) = (taking_part(&w).await, taking_part(&w).await, taking_part(&w).await);
        let apart = w.node("main").await;
        let mut tx = w.app.store.begin().await.unwrap();
        nodes::set_status(&mut tx, &ill, NodeStatus::Unhealthy, w.app.now()).await.unwrap();
        tx.commit().await.unwrap();

        let id = ask(&w, None).await;
        let open = until(&w, &id, |v| v.progress.sent == 2).await;
        assert_eq!((open.request.status, open.request.summary), (SelfUpdateStatus::Processing, None));
        asked_once(&w, &a, &id).await;
        asked_once(&w, &b, &id).await;
        assert!(asked(&w, &apart).is_empty() && asked(&w, &ill).is_empty());
        let error = self_update::delete(&w.app, &w.admin, &id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.starts_with("cannot delete self-update request with status 'processing'"));

        answer(&w, &apart, &id, true, "nobody asked me").await;
        answer(&w, &a, &id, true, "").await;
        answer(&w, &a, &id, false, "a second answer").await;
        answer(&w, &b, &id, false, "no\nway").await;
        let done = until(&w, &id, |v| v.request.status == SelfUpdateStatus::Completed).await;
        let summary = SelfUpdateSummary { total: 2, triggered: 1, failed: 1, cancelled: 0 };
        assert_eq!(done.request.summary, Some(summary));
        let failed = [SelfUpdateState::Failed];
        let failed = self_update::targets(&w.app, &w.admin, &id, &failed, Page::default()).await.unwrap();
        assert_eq!((failed.total, failed.items[0].reason.as_deref()), (1, Some("noway")));

        let triggered = events(&w, event::NODE_UPDATE_TRIGGERED).await;
        assert_eq!(triggered.len(), 1);
        assert_eq!((&triggered[0]["node_id"], &triggered[0]["self_update_request_id"]), (&json!(a), &json!(id)));
        let completed = events(&w, event::SELF_UPDATE_COMPLETED).await;
        assert_eq!(completed.len(), 1);
        assert_eq!(completed[0]["summary"], json!({"total": 2, "triggered": 1, "failed": 1}));
        assert_eq!(completed[0]["targeting"], json!({"type": "all"}));

        // What it came to stays, whatever becomes of the nodes.
        node::delete(&w.app, &w.admin, &a).await.unwrap();
        assert_eq!(get(&w, &id).await.progress.ended, summary);
        let filter = SelfUpdateFilter { status: vec![SelfUpdateStatus::Completed], ..Default::default() };
        let listed = self_update::list(&w.app, &w.admin, &filter, &[], Page::default()).await.unwrap();
        assert_eq!((listed.total, listed.items[0].progress.ended), (1, summary));
        self_update::delete(&w.app, &w.admin, &id).await.unwrap();
        assert_eq!(self_update::get(&w.app, &w.admin, &id).await.unwrap_err().kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_lost_is_given_again_and_silence_is_a_failure() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (a, away) = (taking_part(&w).await, taking_part(&w).await);
        w.disconnect(&away).await;
        let id = ask(&w, None).await;
        until(&w, &id, |v| v.progress.sent == 1 && v.progress.pending == 1).await;
        asked_once(&w, &a, &id).await;
        // The connection broke before the agent had read it.
        w.disconnect(&a).await;
        w.connect_taking_part(&a).await;
        asked_once(&w, &a, &id).await;
        w.connect_taking_part(&away).await;
        asked_once(&w, &away, &id).await;
        answer(&w, &a, &id, true, "").await;

        w.clock.advance_ms(ANSWER_WITHIN_MS - 1_000);
        pass(&w).await;
        assert_eq!(get(&w, &id).await.progress.sent, 1);
        w.clock.advance_ms(2_000);
        pass(&w).await;
        let done = until(&w, &id, |v| v.request.status == SelfUpdateStatus::Completed).await;
        assert_eq!((done.progress.ended.triggered, done.progress.ended.failed), (1, 1));
        let failed = [SelfUpdateState::Failed];
        let failed = self_update::targets(&w.app, &w.admin, &id, &failed, Page::default()).await.unwrap();
        assert_eq!(failed.items[0].reason.as_deref(), Some("the node did not answer within 60 seconds"));
        answer(&w, &away, &id, true, "").await;
        assert_eq!(get(&w, &id).await.progress.ended.triggered, 1, "too late");
    })
    .await;
}

#[tokio::test]
async fn batches_wait_for_each_other_and_stop_at_failures() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(taking_part(&w).await);
        }
        all.sort();
        let plan = RolloutPlan { canary: 1, batch_size: BatchSize::Nodes(2), max_failures: Some(0) };
        let id = ask(&w, Some(plan)).await;
        // On PostgreSQL a view may show the batches of the moment before.
        let batches = |v: &self_update::View| v.request.rollout.as_ref().map(|r| r.batches);
        until(&w, &id, |v| v.progress.sent == 1 && batches(v) == Some(3)).await;
        asked_once(&w, &all[0], &id).await;
        answer(&w, &all[0], &id, true, "").await;
        until(&w, &id, |v| v.progress.sent == 2).await;
        assert!(asked(&w, &all[3]).is_empty());
        answer(&w, &all[1], &id, false, "no").await;
        answer(&w, &all[2], &id, true, "").await;
        let rollout = |v: &self_update::View| v.request.rollout.as_ref().map(|r| r.state);
        until(&w, &id, |v| rollout(v) == Some(RolloutState::Stopped)).await;
        pass(&w).await;
        assert!(asked(&w, &all[3]).is_empty());
        assert_eq!(get(&w, &id).await.request.status, SelfUpdateStatus::Processing);
        self_update::resume(&w.app, &w.admin, &id).await.unwrap();
        until(&w, &id, |v| v.progress.sent == 1).await;
        asked_once(&w, &all[3], &id).await;
        answer(&w, &all[3], &id, true, "").await;
        // The rollout ends with the pass after the last answer, which the request does not wait for.
        let done = until(&w, &id, |v| {
            v.request.status == SelfUpdateStatus::Completed && rollout(v) == Some(RolloutState::Completed)
        });
        assert_eq!(done.await.progress.ended.triggered, 3);
        assert_eq!(self_update::abort(&w.app, &w.admin, &id).await.unwrap_err().kind, ErrorKind::Conflict);

        let id = ask(&w, Some(plan)).await;
        until(&w, &id, |v| v.progress.sent == 1).await;
        self_update::abort(&w.app, &w.admin, &id).await.unwrap();
        answer(&w, &all[0], &id, true, "").await;
        let done = until(&w, &id, |v| v.request.status == SelfUpdateStatus::Completed).await;
        let summary = SelfUpdateSummary { total: 4, triggered: 1, failed: 0, cancelled: 3 };
        assert_eq!(done.request.summary, Some(summary));
    })
    .await;
}
