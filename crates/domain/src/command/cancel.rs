//! Cancelling everything that is still open of a command.

use reeve_ports::Order;
use reeve_store::execution::{self, Scope};
use reeve_store::{Topic, command as table, event as feed};
use reeve_types::command::CommandSummary;
use reeve_types::execution::ExecutionStatus;
use reeve_types::{Actor, CommandId, Error, Permission, Result};
use serde_json::json;

use crate::{App, audit, authz, event};

/// Cancels a command: what is pending ends at once, what agents have is asked to stop, now or when they come back. Nodes
/// that a fan-out under way has not reached yet get no execution.
///
/// # Errors
/// NotFound.
pub async fn cancel(app: &App, actor: &Actor, id: &CommandId) -> Result<CommandSummary> {
    authz::require(actor, Permission::CommandsRun)?;
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("command"))?;
    let stopped = table::stop_fan_out(&mut tx, id).await?;
    let ended = execution::end_pending(&mut tx, Scope::Command(id), ExecutionStatus::Cancelled, now).await?;
    let asked = execution::request_cancel(&mut tx, Scope::Command(id), now).await?;
    let details = json!({"cancelled": ended.len(), "asked": asked.len(), "fan_out_stopped": stopped});
    audit::record(app, &mut tx, actor, "command.cancel", id.as_str(), details).await?;
    let cancelled = execution::by_ids(&mut tx, &ended).await?;
    let events: Vec<_> = cancelled.iter().map(|e| event::of_execution(event::EXECUTION_CANCELLED, e)).collect();
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    let summary = super::summary_of(&mut tx, id).await?;
    tx.wake(Topic::Output);
    tx.wake(Topic::Executions);
    tx.commit().await?;
    // A pending one may be on its way to its agent already.
    for execution in cancelled {
        if let Some(node) = &execution.node_id {
            app.agents().deliver(node, vec![Order::Cancel(execution.id.clone())]);
        }
    }
    for (execution, node) in asked {
        app.agents().deliver(&node, vec![Order::Cancel(execution)]);
    }
    app.rollouts_changed();
    Ok(summary)
}
