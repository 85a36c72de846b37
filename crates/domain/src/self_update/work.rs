//! The reconciler: finds the nodes of new requests, asks them, moves rollouts, and completes what has been answered.

use reeve_store::rollout::{self as rollouts, Of};
use reeve_store::self_update::{self as table, NewTarget};
use reeve_store::{Topic, Tx, command as commands, event as feed};
use reeve_types::command::Targeting;
use reeve_types::node::NodeStatus;
use reeve_types::rollout::{RolloutState, batch_of};
use reeve_types::self_update::SelfUpdateStatus;
use reeve_types::{NodeId, Result, SelfUpdateRequestId};

use super::ANSWER_WITHIN_MS;
use super::answer::hand_out;
use crate::{App, command, event};

/// Requests and orders looked at in one query.
const PAGE: i64 = 1_000;

/// Moves every request as far as it can go. Called by its reconciler, and soon after anything changed.
///
/// # Errors
/// As the store; what is left is done by the next pass.
pub async fn advance_all(app: &App) -> Result<()> {
    let waiting = table::waiting(&mut app.store.read().await?, PAGE).await?;
    let mut first_error = None;
    for (id, plan) in waiting {
        // One that fails is left for the next pass and holds up no other.
        if let Err(error) = find_nodes(app, &id, &plan).await {
            tracing::warn!(self_update_request.id = %id, %error, source = ?error.source, "the nodes of a request could not be found");
            first_error.get_or_insert(error);
        }
    }
    hand_out_waiting(app).await?;
    fail_overdue(app).await?;
    let processing = table::processing(&mut app.store.read().await?, PAGE).await?;
    let mut released = false;
    for id in processing {
        released |= advance(app, &id).await?;
    }
    if released {
        hand_out_waiting(app).await?;
    }
    first_error.map_or(Ok(()), Err)
}

/// Nodes that are asked have to be healthy and take part. None when the targeting rules them out itself.
fn narrowed(mut targeting: Targeting) -> Option<Targeting> {
    let filter = &mut targeting.nodes;
    let healthy = filter.status.is_empty() || filter.status.contains(&NodeStatus::Healthy);
    if !healthy || filter.self_update_enabled == Some(false) {
        return None;
    }
    filter.status = vec![NodeStatus::Healthy];
    filter.self_update_enabled = Some(true);
    Some(targeting)
}

/// Stores which nodes a request is for, once.
async fn find_nodes(app: &App, id: &SelfUpdateRequestId, plan: &str) -> Result<()> {
    let targeting = command::targeting_of(plan)?;
    let mut tx = app.store.begin().await?;
    let now = app.now();
    if !table::start(&mut tx, id, now).await? {
        return Ok(());
    }
    let Some(request) = table::by_id(&mut tx, id).await? else { return Ok(()) };
    let nodes: Vec<NodeId> = match narrowed(targeting) {
        Some(targeting) => commands::targets(&mut tx, &targeting, "", i64::MAX).await?,
        None => Vec::new(),
    };
    let total = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    let target = |(node_id, index): (NodeId, i64)| {
        let batch = request.rollout.as_ref().map_or(0, |r| batch_of(index, total, r.canary, r.batch_size));
        NewTarget { id: app.ids.next(), node_id, batch }
    };
    let targets: Vec<NewTarget> = nodes.into_iter().zip(0i64..).map(target).collect();
    table::insert_targets(&mut tx, id, &targets, now).await?;
    if let Some(rollout) = &request.rollout {
        let mut counted = rollout.clone();
        counted.batches = targets.last().map_or(0, |last| last.batch + 1);
        if !rollouts::update(&mut tx, Of::SelfUpdate(id), rollout.state, &counted, now).await? {
            // Somebody steered it this moment: the next pass looks again.
            return Ok(());
        }
        // Given up before its nodes were known.
        if rollout.state == RolloutState::Aborted {
            table::cancel_all(&mut tx, id, "the rollout was given up", now).await?;
        }
    }
    wake_others(app, &mut tx);
    tx.commit().await
}

/// Agents that are to be asked may be connected to another server.
fn wake_others(app: &App, tx: &mut Tx) {
    if app.store.is_shared() {
        tx.wake(Topic::Commands);
    }
}

async fn hand_out_waiting(app: &App) -> Result<()> {
    let mut after = String::new();
    loop {
        let waiting = table::deliverable(&mut app.store.read().await?, &app.server_id, &after, PAGE).await?;
        let Some(last) = waiting.last() else { return Ok(()) };
        after.clone_from(&last.id);
        let full = waiting.len() as i64 == PAGE;
        hand_out(app, waiting).await?;
        if !full {
            return Ok(());
        }
    }
}

async fn fail_overdue(app: &App) -> Result<()> {
    let now = app.now();
    let reason = format!("the node did not answer within {} seconds", ANSWER_WITHIN_MS / 1000);
    loop {
        let mut tx = app.store.begin().await?;
        let failed = table::fail_overdue(&mut tx, now.plus_ms(-ANSWER_WITHIN_MS), &reason, now, PAGE).await?;
        tx.commit().await?;
        if failed < PAGE as u64 {
            return Ok(());
        }
    }
}

/// One step of one request; true when a batch was let out.
async fn advance(app: &App, id: &SelfUpdateRequestId) -> Result<bool> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let Some(request) = table::by_id(&mut tx, id).await? else { return Ok(false) };
    let mut running = false;
    if let Some(before) = request.rollout.as_ref().filter(|r| r.state == RolloutState::Running) {
        let (open, failures) = table::batch_progress(&mut tx, id, before.current_batch).await?;
        let after = before.step(open, failures)?;
        let released = after.current_batch > before.current_batch;
        running = after.state == RolloutState::Running;
        if after != *before {
            if !rollouts::update(&mut tx, Of::SelfUpdate(id), before.state, &after, now).await? {
                return Ok(false);
            }
            if released {
                table::release(&mut tx, id, after.current_batch, now).await?;
            }
            tracing::info!(self_update_request.id = %id, state = after.state.word(), batch = after.current_batch, failures, "rollout moved");
        }
        if released {
            wake_others(app, &mut tx);
            tx.commit().await?;
            return Ok(true);
        }
    }
    let mut completed = 0;
    let progress = table::progress_of(&mut tx, std::slice::from_ref(id)).await?.remove(id).unwrap_or_default();
    // On PostgreSQL the last answer may come between the two looks: the rollout ends first, in the pass that it asked for.
    if !running && progress.open() == 0 && table::complete(&mut tx, id, &progress.ended, now).await? {
        let mut done = request;
        done.status = SelfUpdateStatus::Completed;
        done.summary = Some(progress.ended);
        done.updated_at = now;
        feed::append(&mut tx, &*app.ids, now, &[event::of_self_update(&done)]).await?;
        tracing::info!(self_update_request.id = %id, triggered = progress.ended.triggered, failed = progress.ended.failed, "self-update request completed");
        completed = 1;
    }
    tx.commit().await?;
    app.counters.self_updates.add(completed);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::command::TargetKind;
    use reeve_types::node::NodeFilter;

    fn with(status: Vec<NodeStatus>, self_update_enabled: Option<bool>) -> Option<Targeting> {
        let nodes = NodeFilter { status, self_update_enabled, ..NodeFilter::default() };
        narrowed(Targeting {
            kind: TargetKind::All,
            node_ids: Vec::new(),
            cluster_names: Vec::new(),
            nodes,
            clusters: Default::default(),
            labels: None,
        })
    }

    #[test]
    fn only_healthy_nodes_that_take_part_are_asked() {
        for fine in [with(Vec::new(), None), with(vec![NodeStatus::Healthy, NodeStatus::Unhealthy], Some(true))] {
            let nodes = fine.unwrap().nodes;
            assert_eq!((nodes.status, nodes.self_update_enabled), (vec![NodeStatus::Healthy], Some(true)));
        }
        assert!(with(vec![NodeStatus::Unhealthy], None).is_none());
        assert!(with(Vec::new(), Some(false)).is_none());
    }
}
