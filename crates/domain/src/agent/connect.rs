//! An agent comes and goes; what its journal and the store hold is made to agree.

use std::collections::HashMap;

use reeve_ports::Order;
use reeve_store::{event as feed, execution, node as table};
use reeve_types::execution::{ExecutionStatus, Outcome};
use reeve_types::node::NodeStatus;
use reeve_types::{Error, ExecutionId, NodeId, Result};
use serde_json::json;

use super::{Known, Machine, Report, Stage, Welcome, dispatch};
use crate::{App, event, self_update};

/// Most executions handed to an agent when it connects; more follow as it takes them.
const FIRST_HELPING: i64 = 1_000;

/// The key that an agent's proof is checked against. None for an unknown node.
///
/// # Errors
/// As the store.
pub async fn public_key(app: &App, id: &NodeId) -> Result<Option<Vec<u8>>> {
    let mut tx = app.store.read().await?;
    let Some(node) = table::by_id(&mut tx, id).await? else { return Ok(None) };
    hex::decode(node.public_key).map(Some).map_err(Error::internal)
}

/// Marks an agent as connected here, settles which executions it has, and hands it what waits for it.
///
/// # Errors
/// NotFound when the node was deleted meanwhile; Unavailable when this is an old connection of the node, or this server was
/// expelled meanwhile; otherwise as the store.
pub async fn connected(app: &App, id: &NodeId, machine: Machine, mut known: Vec<Known>) -> Result<Welcome> {
    known.retain(|known| super::is_plausible(&known.execution_id));
    let now = app.now();
    let (holder, session) = (app.holder(), machine.session);
    let mut tx = app.store.begin().await?;
    let before = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    let mut node = before.clone();
    node.status = NodeStatus::Healthy;
    node.version = Some(machine.version);
    node.ports = machine.ports;
    node.self_update_enabled = machine.self_update_enabled;
    node.facts = machine.facts.or(node.facts);
    node.last_seen_at = Some(now);
    node.connected_server = Some(app.server_id.clone());
    let told =
        |n: &reeve_types::node::Node| (n.version.clone(), n.ports, n.self_update_enabled, n.facts.clone(), n.status);
    if told(&node) != told(&before) {
        node.updated_at = now;
    }
    if !table::set_machine(&mut tx, &node, holder.epoch, session).await? {
        return Err(Error::unavailable("the node has a newer connection; this one is looked at too late"));
    }
    let unanswered = execution::unanswered(&mut tx, id).await?;
    let ids: Vec<ExecutionId> = known.iter().map(|k| k.execution_id.clone()).collect();
    let statuses = execution::statuses(&mut tx, &ids).await?;
    let mut events = Vec::new();
    if before.version != node.version {
        events.push(event::of_node(event::NODE_VERSION_CHANGED, &node, &[("previous_version", json!(before.version))]));
    }
    if before.status != node.status {
        events.push(event::of_node(event::NODE_STATUS_CHANGED, &node, &[("previous_status", json!(before.status))]));
    }
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    // A server that was away for long may look at an agent that has moved on since: what it makes of it is void.
    crate::server::require_member(&mut tx, holder).await?;
    tx.commit().await?;

    app.counters.connections.add(1);
    app.presence.connected(id);
    app.in_flight.forget(id);
    settle(app, id, known, statuses, unanswered).await;
    let mut tx = app.store.read().await?;
    let waiting = execution::deliverable_to(&mut tx, id, now, FIRST_HELPING).await?;
    let agent_endpoints = crate::server::agent_endpoints(app, &mut tx).await?;
    drop(tx);
    dispatch::deliver(app, waiting);
    self_update::deliver_to(app, id).await?;
    Ok(Welcome {
        heartbeat_ms: app.config.heartbeat.as_millis() as u64,
        sample_ms: app.config.sample_interval.as_millis() as u64,
        server_version: env!("CARGO_PKG_VERSION"),
        now,
        agent_endpoints,
    })
}

async fn settle(
    app: &App,
    id: &NodeId,
    known: Vec<Known>,
    statuses: Vec<(ExecutionId, Option<NodeId>, ExecutionStatus, bool)>,
    unanswered: Vec<(ExecutionId, bool)>,
) {
    let mut orders = Vec::new();
    let stored: HashMap<_, _> =
        statuses.into_iter().map(|(e, n, status, answered)| (e, (n, status, answered))).collect();
    let mut in_journal = HashMap::new();
    for Known { execution_id, stage } in known {
        match stored.get(&execution_id) {
            Some((Some(node), status, answered)) if node == id => match (status, answered, stage) {
                (_, true, _) => orders.push(Order::Stored(execution_id.clone())),
                (ExecutionStatus::Cancelled | ExecutionStatus::Expired, false, Stage::Accepted | Stage::Started) => {
                    orders.push(Order::Cancel(execution_id.clone()));
                }
                (_, false, Stage::Accepted) => super::report(app, id, Report::Accepted(execution_id.clone())).await,
                (_, false, Stage::Started) => {
                    super::report(app, id, Report::Accepted(execution_id.clone())).await;
                    super::report(app, id, Report::Started(execution_id.clone())).await;
                }
                (_, false, Stage::Finished) => {}
            },
            Some(_) | None => orders.push(Order::Forget(execution_id.clone())),
        }
        in_journal.insert(execution_id, stage);
    }
    for (execution_id, cancel) in unanswered {
        match in_journal.get(&execution_id) {
            Some(Stage::Finished) => {}
            Some(Stage::Accepted | Stage::Started) if cancel => orders.push(Order::Cancel(execution_id)),
            Some(Stage::Accepted | Stage::Started) => {}
            // The agent took it and its journal is gone: it may have run, so it is not run again.
            None => {
                let output =
                    "the agent no longer knows this command: its data was lost, and whether it ran is unknown\n";
                let outcome = Outcome {
                    execution_id,
                    expired: false,
                    exit_code: Some(1),
                    output: output.to_owned(),
                    completed_at: None,
                };
                super::report(app, id, Report::Outcome(outcome)).await;
            }
        }
    }
    if !orders.is_empty() && !app.agents().deliver(id, orders) {
        tracing::warn!(node.id = %id, "an agent went away while its journal was settled");
    }
}

/// Notes that an agent's connection here ended and no newer one took its place.
///
/// # Errors
/// As the store.
pub async fn disconnected(app: &App, id: &NodeId) -> Result<()> {
    app.counters.disconnections.add(1);
    app.presence.disconnected(id);
    app.in_flight.forget(id);
    let mut tx = app.store.begin().await?;
    table::clear_connection(&mut tx, id, app.holder(), app.now()).await?;
    tx.commit().await
}
