//! What goes to agents and comes back from them.

use reeve_ports::Order;
use reeve_store::self_update::{self as table, Waiting};
use reeve_store::{event as feed, node};
use reeve_types::self_update::SelfUpdateState;
use reeve_types::{NodeId, Result, SelfUpdateRequestId};
use serde_json::json;

use crate::{App, event};

/// Longest reason kept, in characters.
const MAX_REASON: usize = 500;

/// Notes what an agent answered. An answer to what was not asked, or is answered already, changes nothing.
///
/// # Errors
/// As the store.
pub async fn answered(
    app: &App,
    node_id: &NodeId,
    request: &SelfUpdateRequestId,
    triggered: bool,
    reason: &str,
) -> Result<()> {
    let now = app.now();
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    let (state, reason) = match (triggered, reason.is_empty()) {
        (true, _) => (SelfUpdateState::Triggered, None),
        (false, true) => (SelfUpdateState::Failed, Some("the agent gave no reason")),
        (false, false) => (SelfUpdateState::Failed, Some(reason.as_str())),
    };
    let mut tx = app.store.begin().await?;
    if !table::answer(&mut tx, request, node_id, state, reason, now).await? {
        return Ok(());
    }
    if triggered && let Some(node) = node::by_id(&mut tx, node_id).await? {
        let extra = [("self_update_request_id", json!(request))];
        let event = event::of_node(event::NODE_UPDATE_TRIGGERED, &node, &extra);
        feed::append(&mut tx, &*app.ids, now, &[event]).await?;
    }
    tx.commit().await?;
    app.self_updates_changed();
    Ok(())
}

/// Gives a connecting agent again what it was given and has not answered: it may never have got it. What was not given to it
/// yet is for the reconciler.
pub(crate) async fn deliver_to(app: &App, node: &NodeId) -> Result<()> {
    let unanswered = table::unanswered_by(&mut app.store.read().await?, node).await?;
    for (waiting, state) in unanswered {
        if state == SelfUpdateState::Sent {
            app.agents().deliver(node, vec![Order::SelfUpdate(waiting.request_id)]);
        } else {
            app.self_updates_changed();
        }
    }
    Ok(())
}

/// Hands orders to agents that are connected here. They are marked before, so that two who hand out do not both hand out
/// the same; what could not be handed over is taken back.
pub(super) async fn hand_out(app: &App, waiting: Vec<Waiting>) -> Result<()> {
    let here = waiting.into_iter().filter(|w| app.agents().is_connected(&w.node_id));
    let ids: Vec<String> = here.map(|w| w.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    let claimed = table::claim(&mut tx, &ids, app.now()).await?;
    tx.commit().await?;
    let lost = |w: &Waiting| !app.agents().deliver(&w.node_id, vec![Order::SelfUpdate(w.request_id.clone())]);
    let lost: Vec<String> = claimed.into_iter().filter(lost).map(|w| w.id).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    table::unclaim(&mut tx, &lost, app.now()).await?;
    tx.commit().await
}
