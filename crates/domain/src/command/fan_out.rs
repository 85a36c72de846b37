//! One execution per node of a command, made slice by slice: what a slice made is on its way while the next one is made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use reeve_store::execution::Common;
use reeve_store::{Topic, command as table, event as feed, execution, rollout as rollouts};
use reeve_types::command::{Command, TargetKind, Targeting};
use reeve_types::execution::{Assignment, ExecutionStatus, NewExecution};
use reeve_types::rollout::batch_of;
use reeve_types::{CommandId, Error, ExecutionId, NodeId, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::agent::dispatch;
use crate::{App, event};

#[derive(Serialize, Deserialize)]
struct Document {
    kind: TargetKind,
    node_ids: Vec<NodeId>,
    cluster_names: Vec<String>,
    nodes: reeve_types::node::NodeFilter,
    clusters: reeve_types::cluster::ClusterFilter,
    labels: Option<reeve_types::selector::Selector>,
}

/// A targeting as the row of a command or a self-update request carries it.
pub(crate) fn plan(t: &Targeting) -> Result<String> {
    let document = Document {
        kind: t.kind,
        node_ids: t.node_ids.clone(),
        cluster_names: t.cluster_names.clone(),
        nodes: t.nodes.clone(),
        clusters: t.clusters.clone(),
        labels: t.labels.clone(),
    };
    serde_json::to_string(&document).map_err(Error::internal)
}

/// The targeting that such a text holds.
pub(crate) fn targeting_of(plan: &str) -> Result<Targeting> {
    let d: Document = serde_json::from_str(plan).map_err(Error::internal)?;
    Ok(Targeting {
        kind: d.kind,
        node_ids: d.node_ids,
        cluster_names: d.cluster_names,
        nodes: d.nodes,
        clusters: d.clusters,
        labels: d.labels,
    })
}

/// Nodes of the first slice: few, so that the first ones have their command at once. Each slice has twice as many as the
/// one before it: agents' reports are stored between two slices, and the first ones are not to wait for long.
const FIRST_SLICE: i64 = 64;
/// Nodes of a slice at the most: the store's one writer is held for some 50 ms.
const SLICE: i64 = 512;
/// Commands that take turns.
const AT_ONCE: i64 = 200;

/// Fans out every command that waits for it, a slice of each in turn, so that a large one does not hold up the others.
/// Called by its reconciler. One that fails is left for the next pass and holds up no other.
///
/// # Errors
/// The first that a command met; what is left is done by the next pass.
pub async fn fan_out_waiting(app: &App) -> Result<()> {
    let mut slices: HashMap<CommandId, i64> = HashMap::new();
    let mut failed: HashSet<CommandId> = HashSet::new();
    let mut first_error = None;
    loop {
        let mut waiting = {
            let mut tx = app.store.read().await?;
            table::waiting(&mut tx, AT_ONCE + failed.len() as i64).await?
        };
        waiting.retain(|command| !failed.contains(&command.id));
        if waiting.is_empty() {
            return first_error.map_or(Ok(()), Err);
        }
        for command in waiting {
            let slice = slices.entry(command.id.clone()).or_insert(FIRST_SLICE);
            if let Err(error) = fan_out(app, &command, *slice).await {
                tracing::warn!(command.id = %command.id, %error, source = ?error.source, "a command could not be fanned out");
                failed.insert(command.id);
                first_error.get_or_insert(error);
                continue;
            }
            *slice = (*slice * 2).min(SLICE);
        }
    }
}

/// Makes the executions of a command's next nodes, once, and delivers those of connected nodes. Nodes that join behind
/// the slice that was reached are part of it, like those that were there.
async fn fan_out(app: &App, waiting: &table::Waiting, slice: i64) -> Result<()> {
    let targeting = targeting_of(&waiting.plan)?;
    let mut tx = app.store.begin().await?;
    let now = app.now();
    let Some(command) = table::by_id(&mut tx, &waiting.id).await? else { return Ok(()) };
    // The batches of a rollout are counted over all nodes.
    let most = if command.rollout.is_some() { i64::MAX } else { slice };
    let nodes = table::targets(&mut tx, &targeting, &waiting.after, most).await?;
    let total = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    let done = total < most;
    let reached = nodes.last().map_or(waiting.after.as_str(), NodeId::as_str).to_owned();
    if !table::fan_out_to(&mut tx, &command.id, &waiting.after, &reached, done).await? {
        return Ok(());
    }
    let cluster = match targeting.kind {
        TargetKind::Clusters => only(table::target_clusters(&mut tx, &targeting).await?),
        TargetKind::All | TargetKind::Nodes => None,
    };
    let fresh: Vec<NewExecution> = nodes
        .into_iter()
        .zip(0i64..)
        .map(|(node_id, index)| {
            let batch = command.rollout.as_ref().map_or(0, |r| batch_of(index, total, r.canary, r.batch_size));
            NewExecution { id: ExecutionId(app.ids.next()), node_id, batch, released: batch == 0 }
        })
        .collect();
    let common = Common { command_id: &command.id, cluster_id: cluster.as_ref(), target_all: command.target_all, now };
    execution::insert_many(&mut tx, &common, &fresh).await?;
    if let Some(rollout) = &command.rollout {
        let mut counted = rollout.clone();
        counted.batches = fresh.last().map_or(0, |last| last.batch + 1);
        if !rollouts::update(&mut tx, rollouts::Of::Command(&command.id), rollout.state, &counted, now).await? {
            // Somebody steered it this moment: nothing is stored, and the caller looks again.
            return Ok(());
        }
    }
    let cluster_name = match cluster {
        Some(id) => reeve_store::cluster::by_id(&mut tx, &id).await?.map(|c| c.name),
        None => None,
    };
    feed::append(&mut tx, &*app.ids, now, &created_events(&command, cluster_name, &fresh, now)).await?;
    tx.wake(Topic::Output);
    if app.store.is_shared() {
        tx.wake(Topic::Executions);
    }
    tx.commit().await?;
    app.counters.executions_created.add(fresh.len() as u64);

    let text: Arc<str> = command.command_text.into();
    let out = fresh.into_iter().filter(|e| e.released).map(|e| Assignment {
        execution_id: e.id,
        node_id: e.node_id,
        command_id: command.id.clone(),
        command_text: text.clone(),
        timeout_ms: command.timeout_ms,
        expired_at: command.expired_at,
    });
    dispatch::deliver(app, out);
    if command.rollout.is_some() {
        app.rollouts_changed();
    }
    Ok(())
}

fn created_events(
    command: &Command,
    cluster_name: Option<String>,
    fresh: &[NewExecution],
    now: Timestamp,
) -> Vec<reeve_types::event::NewEvent> {
    let mut created = reeve_types::execution::Execution {
        id: ExecutionId(String::new()),
        command_id: command.id.clone(),
        command_text: command.command_text.clone(),
        timeout_ms: command.timeout_ms,
        expired_at: command.expired_at,
        node_id: None,
        cluster_name,
        target_all: command.target_all,
        status: ExecutionStatus::Pending,
        exit_code: None,
        output: None,
        sent_at: None,
        started_at: None,
        completed_at: None,
        cancelled_at: None,
        inserted_at: now,
        updated_at: now,
    };
    let event = |e: &NewExecution| {
        (created.id, created.node_id) = (e.id.clone(), Some(e.node_id.clone()));
        event::of_execution(event::EXECUTION_CREATED, &created)
    };
    fresh.iter().map(event).collect()
}

fn only<T>(mut found: Vec<T>) -> Option<T> {
    if found.len() == 1 { found.pop() } else { None }
}
