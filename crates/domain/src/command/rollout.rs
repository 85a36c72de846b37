//! Rollouts: the next batch goes out when the one before has ended well enough.

use reeve_store::{Topic, Tx, command as table, event as feed, execution, rollout as rollouts, rollout::Of};
use reeve_types::execution::ExecutionStatus;
use reeve_types::rollout::{Rollout, RolloutEvent, RolloutState};
use reeve_types::{Actor, CommandId, Error, Permission, Result};
use serde_json::json;

use super::View;
use crate::agent::dispatch;
use crate::{App, audit, authz, event};

/// Holds a rollout; what is out goes on.
///
/// # Errors
/// NotFound; Conflict when it is not running.
pub async fn pause(app: &App, actor: &Actor, id: &CommandId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Pause, "command.rollout.pause").await
}

/// Lets a held or stopped rollout go on; the failures so far are forgiven.
///
/// # Errors
/// NotFound; Conflict when it is not held.
pub async fn resume(app: &App, actor: &Actor, id: &CommandId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Resume, "command.rollout.resume").await
}

/// Gives a rollout up: what is not with an agent yet is cancelled.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn abort(app: &App, actor: &Actor, id: &CommandId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Abort, "command.rollout.abort").await
}

async fn change(app: &App, actor: &Actor, id: &CommandId, happened: RolloutEvent, action: &str) -> Result<View> {
    authz::require(actor, Permission::CommandsRun)?;
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let command = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("command"))?;
    let before = command.rollout.ok_or_else(|| Error::conflict("the command has no rollout; it went out at once"))?;
    let after = before.told(happened)?;
    if !rollouts::update(&mut tx, Of::Command(id), before.state, &after, now).await? {
        return Err(Error::conflict("the rollout has moved on; look again"));
    }
    let mut events = Vec::new();
    if happened == RolloutEvent::Abort {
        let scope = execution::Scope::Command(id);
        let ended = execution::end_pending(&mut tx, scope, ExecutionStatus::Cancelled, now).await?;
        let ended = execution::by_ids(&mut tx, &ended).await?;
        events.extend(ended.iter().map(|e| event::of_execution(event::EXECUTION_CANCELLED, e)));
    }
    audit::record(app, &mut tx, actor, action, id.as_str(), json!({"from": before.state, "to": after.state})).await?;
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    tx.wake(Topic::Output);
    tx.commit().await?;
    app.rollouts_changed();
    super::view(&mut app.store.read_consistent().await?, id).await
}

/// Moves every running rollout as far as it can go. Called by its reconciler when executions ended.
///
/// # Errors
/// As the store.
pub async fn advance_all(app: &App) -> Result<()> {
    let running = {
        let mut tx = app.store.read().await?;
        rollouts::running(&mut tx, 1_000).await?
    };
    let mut released = false;
    for id in running {
        released |= advance(app, &id).await?;
    }
    if released {
        dispatch::pass(app).await?;
    }
    Ok(())
}

/// One step of one rollout; true when a batch was let out.
async fn advance(app: &App, id: &CommandId) -> Result<bool> {
    let mut tx = app.store.begin().await?;
    let now = app.now();
    let rollout = table::by_id(&mut tx, id).await?.and_then(|c| c.rollout);
    let Some(before) = rollout.filter(|r| r.state == RolloutState::Running) else { return Ok(false) };
    let (open, failures) = rollouts::progress(&mut tx, id, before.current_batch).await?;
    let after = before.step(open, failures)?;
    if after == before {
        return Ok(false);
    }
    let released = after.current_batch > before.current_batch;
    if released {
        rollouts::release(&mut tx, id, after.current_batch, now).await?;
    }
    if !store(tx, id, &before, &after, now).await? {
        return Ok(false);
    }
    tracing::info!(command.id = %id, state = after.state.word(), batch = after.current_batch, failures, "rollout moved");
    Ok(released)
}

/// False, and nothing changed, when the rollout was paused or moved on meanwhile.
async fn store(
    mut tx: Tx,
    id: &CommandId,
    before: &Rollout,
    after: &Rollout,
    now: reeve_types::Timestamp,
) -> Result<bool> {
    if !rollouts::update(&mut tx, Of::Command(id), before.state, after, now).await? {
        return Ok(false);
    }
    tx.wake(Topic::Output);
    tx.wake(Topic::Executions);
    tx.commit().await?;
    Ok(true)
}
