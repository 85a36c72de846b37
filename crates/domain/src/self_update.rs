//! Self-update requests: nodes are asked to replace their agents, in batches if wanted. The request is stored with its plan;
//! the rest is found in the rows by [`advance_all`].

mod answer;
mod steer;
mod work;

use reeve_store::rollout::{self as rollouts, Of};
use reeve_store::{Topic, Tx, self_update as table};
use reeve_types::command::Targeting;
use reeve_types::rollout::RolloutPlan;
use reeve_types::self_update::{
    SelfUpdateFilter, SelfUpdateProgress, SelfUpdateRequest, SelfUpdateState, SelfUpdateStatus, SelfUpdateTarget,
};
use reeve_types::{Actor, Error, ErrorKind, Page, Paged, Permission, Result, SelfUpdateRequestId, Sort};
use serde_json::json;

pub use answer::answered;
pub(crate) use answer::deliver_to;
pub use steer::{abort, pause, resume};
pub use work::advance_all;

use crate::{App, audit, authz, command};

/// How long an agent may take to answer once its batch is out, in milliseconds. Agents answer before they begin.
pub const ANSWER_WITHIN_MS: i64 = 60_000;

/// A request with how its nodes stand.
#[derive(Clone, Debug)]
pub struct View {
    /// The request.
    pub request: SelfUpdateRequest,
    /// Its nodes.
    pub progress: SelfUpdateProgress,
}

/// What a new request is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// Which nodes, of those that are healthy and take part.
    pub targeting: Targeting,
    /// The same as it was asked for, to be shown again.
    pub targeting_document: serde_json::Value,
    /// In batches; None asks all at once.
    pub rollout: Option<RolloutPlan>,
}

/// Asks nodes to update. They are found and asked within milliseconds.
///
/// # Errors
/// Invalid for a targeting without what its type needs.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<View> {
    authz::require(actor, Permission::SelfUpdatesWrite)?;
    let error = Error::new(ErrorKind::Invalid, "Validation failed");
    let error = command::check_targeting(&input.targeting, error);
    if !error.details.is_empty() {
        return Err(error);
    }
    let now = app.now();
    let request = SelfUpdateRequest {
        id: SelfUpdateRequestId(app.ids.next()),
        targeting: input.targeting_document.to_string(),
        status: SelfUpdateStatus::Pending,
        created_by: actor.principal.label(),
        summary: None,
        rollout: input.rollout.map(RolloutPlan::begin),
        inserted_at: now,
        updated_at: now,
    };
    let plan = command::plan(&input.targeting)?;
    let mut tx = app.begin(actor).await?;
    table::insert(&mut tx, &request, &plan).await?;
    if let Some(rollout) = &request.rollout {
        rollouts::insert(&mut tx, Of::SelfUpdate(&request.id), rollout, now).await?;
    }
    let details = json!({"targeting": input.targeting_document});
    audit::record(app, &mut tx, actor, "self_update_request.create", request.id.as_str(), details).await?;
    if app.store.is_shared() {
        tx.wake(Topic::Commands);
    }
    tx.commit().await?;
    app.self_updates_changed();
    Ok(View { request, progress: SelfUpdateProgress::default() })
}

/// The request with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &SelfUpdateRequestId) -> Result<View> {
    authz::require(actor, Permission::SelfUpdatesRead)?;
    view(&mut app.store.read_consistent().await?, id).await
}

/// The row and its counts; of one moment only in a consistent read.
async fn view(tx: &mut Tx, id: &SelfUpdateRequestId) -> Result<View> {
    let request = table::by_id(tx, id).await?.ok_or_else(|| Error::not_found("self-update request"))?;
    let mut progress = table::progress_of(tx, std::slice::from_ref(id)).await?;
    Ok(View { progress: progress_of(&request, progress.remove(id)), request })
}

/// What a completed request came to stays as it was, whatever becomes of its nodes.
fn progress_of(request: &SelfUpdateRequest, counted: Option<SelfUpdateProgress>) -> SelfUpdateProgress {
    request.summary.map(SelfUpdateProgress::from).or(counted).unwrap_or_default()
}

/// A page of requests.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &SelfUpdateFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<View>> {
    authz::require(actor, Permission::SelfUpdatesRead)?;
    let mut tx = app.store.read_consistent().await?;
    let found = table::list(&mut tx, filter, sorts, page).await?;
    let unfinished = found.items.iter().filter(|request| request.summary.is_none());
    let ids: Vec<SelfUpdateRequestId> = unfinished.map(|request| request.id.clone()).collect();
    let mut progress = table::progress_of(&mut tx, &ids).await?;
    Ok(found.map(|request| View { progress: progress_of(&request, progress.remove(&request.id)), request }))
}

/// A page of the nodes of a request, in the order in which they are asked; in these states, or in any when none is named.
///
/// # Errors
/// NotFound.
pub async fn targets(
    app: &App,
    actor: &Actor,
    id: &SelfUpdateRequestId,
    states: &[SelfUpdateState],
    page: Page,
) -> Result<Paged<SelfUpdateTarget>> {
    authz::require(actor, Permission::SelfUpdatesRead)?;
    let mut tx = app.store.read().await?;
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("self-update request"))?;
    table::targets(&mut tx, id, states, page).await
}

/// Deletes a completed request.
///
/// # Errors
/// NotFound; Conflict while it is not completed.
pub async fn delete(app: &App, actor: &Actor, id: &SelfUpdateRequestId) -> Result<()> {
    authz::require(actor, Permission::SelfUpdatesWrite)?;
    let mut tx = app.begin(actor).await?;
    let request = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("self-update request"))?;
    if !table::delete_completed(&mut tx, id).await? {
        let status = request.status.word();
        return Err(Error::conflict(format!(
            "cannot delete self-update request with status '{status}' - only 'completed' requests can be deleted"
        )));
    }
    audit::record(app, &mut tx, actor, "self_update_request.delete", id.as_str(), json!({})).await?;
    tx.commit().await
}
