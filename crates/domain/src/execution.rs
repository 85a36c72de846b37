//! Executions: seeing, cancelling and deleting them, and letting them expire.

use reeve_ports::Order;
use reeve_store::execution::{self as table, Scope};
use reeve_store::execution_output as outputs;
use reeve_store::{Topic, command, event as feed};
use reeve_types::execution::{Execution, ExecutionFilter, ExecutionStatus};
use reeve_types::{Actor, Error, ExecutionId, Page, Paged, Permission, Result, Sort};
use serde_json::json;

mod prune;

pub use crate::command::watch_execution as watch;
use crate::server::letters::{self, Errand};
use crate::{App, audit, authz, event};
pub use prune::{PruneExecutions, prune};

/// The execution with this id, with its output so far.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &ExecutionId) -> Result<Execution> {
    authz::require(actor, Permission::CommandsRead)?;
    let mut tx = app.store.read().await?;
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("execution"))
}

/// A page of executions.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &ExecutionFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<Execution>> {
    authz::require(actor, Permission::CommandsRead)?;
    let mut tx = app.store.read().await?;
    table::list(&mut tx, filter, sorts, page).await
}

/// Deletes an execution that has ended.
///
/// # Errors
/// NotFound; Conflict while it is open.
pub async fn delete(app: &App, actor: &Actor, id: &ExecutionId) -> Result<()> {
    authz::require(actor, Permission::CommandsRun)?;
    let mut tx = app.begin(actor).await?;
    let execution = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("execution"))?;
    if !table::delete_final(&mut tx, id).await? {
        let status = execution.status.word();
        return Err(Error::conflict(format!(
            "cannot delete execution with status '{status}' - only 'completed', 'cancelled' or 'expired' executions can be deleted"
        )));
    }
    audit::record(app, &mut tx, actor, "execution.delete", id.as_str(), json!({"command": execution.command_id}))
        .await?;
    tx.commit().await
}

/// What came of asking to cancel an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It never ran and never will.
    AtOnce,
    /// Its agent was asked; the outcome follows.
    Asked,
}

/// Cancels an execution.
///
/// # Errors
/// NotFound; Conflict when it has ended; Unavailable when its agent has it and is not connected to any server: then
/// nothing changed.
pub async fn cancel(app: &App, actor: &Actor, id: &ExecutionId) -> Result<Cancelled> {
    authz::require(actor, Permission::CommandsRun)?;
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let before = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("execution"))?;
    let outcome = if table::end_pending(&mut tx, Scope::One(id), ExecutionStatus::Cancelled, now).await?.is_empty() {
        if before.status.is_final() {
            let status = before.status.word();
            return Err(Error::conflict(format!(
                "cannot cancel execution with status '{status}' - only 'pending' or 'sent' executions can be cancelled"
            )));
        }
        let node = match &before.node_id {
            Some(node) => reeve_store::node::by_id(&mut tx, node).await?,
            None => None,
        };
        if node.is_none_or(|node| node.connected_server.is_none()) {
            return Err(Error::unavailable(
                "the node's agent has the command and is not connected; try again when it is back",
            ));
        }
        table::request_cancel(&mut tx, Scope::One(id), now).await?;
        Cancelled::Asked
    } else {
        let ended = table::by_ids(&mut tx, std::slice::from_ref(id)).await?;
        audit::record(app, &mut tx, actor, "execution.cancel", id.as_str(), json!({"status": "pending"})).await?;
        let events: Vec<_> = ended.iter().map(|e| event::of_execution(event::EXECUTION_CANCELLED, e)).collect();
        feed::append(&mut tx, &*app.ids, now, &events).await?;
        Cancelled::AtOnce
    };
    if outcome == Cancelled::Asked {
        audit::record(app, &mut tx, actor, "execution.cancel", id.as_str(), json!({"status": "sent"})).await?;
    }
    tx.wake(Topic::Output);
    tx.wake(Topic::Executions);
    tx.commit().await?;
    if let Some(node) = &before.node_id {
        app.agents().deliver(node, vec![Order::Cancel(id.clone())]);
    }
    app.rollouts_changed();
    Ok(outcome)
}

/// A piece of an execution's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The text from the asked offset on.
    pub text: String,
    /// The byte offset after it.
    pub next_offset: i64,
    /// Whether nothing more will come.
    pub complete: bool,
}

/// Output from byte `offset` on, at most about a megabyte, while it grows or after.
///
/// # Errors
/// NotFound.
pub async fn output(app: &App, actor: &Actor, id: &ExecutionId, offset: i64) -> Result<Output> {
    authz::require(actor, Permission::CommandsRead)?;
    let mut tx = app.store.read().await?;
    let execution = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("execution"))?;
    if execution.status.is_final() && (execution.exit_code.is_some() || execution.output.is_some()) {
        let whole = execution.output.unwrap_or_default();
        let start = at_boundary(&whole, offset);
        let next_offset = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        return Ok(Output { text: whole[start..].to_owned(), next_offset, complete: true });
    }
    let chunks = outputs::chunks_after(&mut tx, id, offset, 512).await?;
    let Joined { text, next_offset, .. } = join(chunks, offset);
    Ok(Output { text, next_offset, complete: execution.status.is_final() })
}

/// A run of output without a gap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Bytes before it; more than were asked for where something is missing.
    pub(crate) offset: i64,
    /// The text.
    pub(crate) text: String,
    /// The offset after it.
    pub(crate) next_offset: i64,
}

/// The first run of the chunks' text from `offset` on. What is missing in front of it is passed over.
pub(crate) fn join(chunks: Vec<outputs::Chunk>, offset: i64) -> Joined {
    let mut run = Joined { offset, text: String::new(), next_offset: offset };
    for chunk in chunks {
        let end = chunk.start.saturating_add(i64::try_from(chunk.text.len()).unwrap_or(i64::MAX));
        if end <= run.next_offset {
            continue;
        }
        if chunk.start > run.next_offset {
            if !run.text.is_empty() {
                break;
            }
            run.offset = chunk.start;
        }
        let skip = at_boundary(&chunk.text, run.next_offset.saturating_sub(chunk.start));
        run.text.push_str(&chunk.text[skip..]);
        run.next_offset = end;
    }
    run
}

/// `offset` as an index into `text`, moved up to the next character.
pub(crate) fn at_boundary(text: &str, offset: i64) -> usize {
    let mut at = usize::try_from(offset).unwrap_or(0).min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Ends open executions whose deadline has passed and asks agents that have them to stop. Called by its reconciler.
///
/// # Errors
/// As the store.
pub async fn expire(app: &App) -> Result<()> {
    let mut tx = app.store.begin().await?;
    let now = app.now();
    let mut asked = Vec::new();
    for id in command::overdue(&mut tx, now, 1_000).await? {
        let ended = table::end_open(&mut tx, Scope::Command(&id), ExecutionStatus::Expired, now).await?;
        let ids: Vec<ExecutionId> = ended.iter().map(|(execution, _)| execution.clone()).collect();
        let rows = table::by_ids(&mut tx, &ids).await?;
        let events: Vec<_> = rows.iter().map(|e| event::of_execution(event::EXECUTION_EXPIRED, e)).collect();
        feed::append(&mut tx, &*app.ids, now, &events).await?;
        asked.extend(ended.into_iter().filter_map(|(execution, node)| Some((node?, Errand::Cancel(execution)))));
    }
    letters::send_errands(app, &mut tx, &asked).await?;
    tx.wake(Topic::Output);
    tx.commit().await?;
    app.counters.expirations.add(1);
    for (node, errand) in asked {
        if let Errand::Cancel(execution) = errand {
            app.agents().deliver(&node, vec![Order::Cancel(execution)]);
        }
    }
    app.rollouts_changed();
    Ok(())
}
