//! A person holds a rollout, lets it go on, or gives it up.

use reeve_store::rollout::{self as rollouts, Of};
use reeve_store::{Topic, self_update as table};
use reeve_types::rollout::RolloutEvent;
use reeve_types::self_update::SelfUpdateStatus;
use reeve_types::{Actor, Error, Permission, Result, SelfUpdateRequestId};
use serde_json::json;

use super::View;
use crate::{App, audit, authz};

/// Holds a rollout; nodes that were asked go on.
///
/// # Errors
/// NotFound; Conflict when it is not running.
pub async fn pause(app: &App, actor: &Actor, id: &SelfUpdateRequestId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Pause, "self_update_request.rollout.pause").await
}

/// Lets a held or stopped rollout go on; the failures so far are forgiven.
///
/// # Errors
/// NotFound; Conflict when it is not held.
pub async fn resume(app: &App, actor: &Actor, id: &SelfUpdateRequestId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Resume, "self_update_request.rollout.resume").await
}

/// Gives a rollout up: nodes that were not asked are not asked.
///
/// # Errors
/// NotFound; Conflict when it has ended.
pub async fn abort(app: &App, actor: &Actor, id: &SelfUpdateRequestId) -> Result<View> {
    change(app, actor, id, RolloutEvent::Abort, "self_update_request.rollout.abort").await
}

async fn change(
    app: &App,
    actor: &Actor,
    id: &SelfUpdateRequestId,
    happened: RolloutEvent,
    action: &str,
) -> Result<View> {
    authz::require(actor, Permission::SelfUpdatesWrite)?;
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let request = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("self-update request"))?;
    if request.status == SelfUpdateStatus::Completed {
        return Err(Error::conflict("the request is completed: there is nothing left to steer"));
    }
    let before = request.rollout.ok_or_else(|| Error::conflict("the request has no rollout; it went out at once"))?;
    let after = before.told(happened)?;
    if !rollouts::update(&mut tx, Of::SelfUpdate(id), before.state, &after, now).await? {
        return Err(Error::conflict("the rollout has moved on; look again"));
    }
    if happened == RolloutEvent::Abort {
        table::cancel_held(&mut tx, id, "the rollout was given up", now).await?;
    }
    audit::record(app, &mut tx, actor, action, id.as_str(), json!({"from": before.state, "to": after.state})).await?;
    if app.store.is_shared() {
        tx.wake(Topic::Commands);
    }
    tx.commit().await?;
    app.self_updates_changed();
    super::view(&mut app.store.read_consistent().await?, id).await
}
