//! Commands: asked for once, fanned out to every node they are for.

mod cancel;
mod create;
mod fan_out;
mod rollout;
mod stream;

use reeve_store::command as table;
use reeve_types::command::{Command, CommandFilter, CommandSummary};
use reeve_types::{Actor, CommandId, Error, Page, Paged, Permission, Result, Sort};
use serde_json::json;

pub use cancel::cancel;
pub(crate) use create::check_targeting;
pub use create::{Create, create};
pub use fan_out::fan_out_waiting;
pub(crate) use fan_out::{plan, targeting_of};
pub use reeve_types::rollout::RolloutPlan;
pub use rollout::{abort, advance_all, pause, resume};
pub use stream::{ExecutionWatch, Progress, Watch, watch, watch_execution};

use crate::{App, audit, authz};

/// A command with how its executions stand.
#[derive(Clone, Debug)]
pub struct View {
    /// The command.
    pub command: Command,
    /// Its executions.
    pub summary: CommandSummary,
}

/// The command with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &CommandId) -> Result<View> {
    authz::require(actor, Permission::CommandsRead)?;
    view(&mut app.store.read_consistent().await?, id).await
}

/// The row and its counts; of one moment only in a consistent read.
async fn view(tx: &mut reeve_store::Tx, id: &CommandId) -> Result<View> {
    let command = table::by_id(tx, id).await?.ok_or_else(|| Error::not_found("command"))?;
    let summary = summary_of(tx, id).await?;
    Ok(View { command, summary })
}

async fn summary_of(tx: &mut reeve_store::Tx, id: &CommandId) -> Result<CommandSummary> {
    let found = table::summaries(tx, std::slice::from_ref(id)).await?;
    Ok(found.into_iter().next().map(|(_, summary)| summary).unwrap_or_default())
}

/// A page of commands.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, filter: &CommandFilter, sorts: &[Sort], page: Page) -> Result<Paged<View>> {
    authz::require(actor, Permission::CommandsRead)?;
    let mut tx = app.store.read_consistent().await?;
    let found = table::list(&mut tx, filter, sorts, page).await?;
    let ids: Vec<CommandId> = found.items.iter().map(|c| c.id.clone()).collect();
    let mut summaries = table::summaries(&mut tx, &ids).await?.into_iter();
    Ok(found.map(|command| View { command, summary: summaries.next().map(|(_, s)| s).unwrap_or_default() }))
}

/// Deletes a command with its executions, once all of them have ended.
///
/// # Errors
/// NotFound; Conflict while an execution is open.
pub async fn delete(app: &App, actor: &Actor, id: &CommandId) -> Result<()> {
    authz::require(actor, Permission::CommandsRun)?;
    let mut tx = app.begin(actor).await?;
    let command = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("command"))?;
    let open = table::open_executions(&mut tx, id).await?;
    if open > 0 {
        return Err(Error::conflict(format!(
            "cannot delete command with {open} non-completed execution(s) - wait for them or cancel them first"
        )));
    }
    if !command.fanned_out {
        return Err(Error::conflict("cannot delete command that is still being sent out - try again in a moment"));
    }
    table::delete(&mut tx, id).await?;
    audit::record(app, &mut tx, actor, "command.delete", id.as_str(), json!({})).await?;
    tx.commit().await
}
