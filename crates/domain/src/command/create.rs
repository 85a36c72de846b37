//! A command is stored with its plan in one transaction; the fan-out finds it there, whatever dies in between.

use reeve_store::{command as table, rollout as rollouts, rollout::Of};
use reeve_types::command::{Command, CommandSummary, TargetKind, Targeting};
use reeve_types::rollout::RolloutPlan;
use reeve_types::{Actor, CommandId, Error, Permission, Result, Timestamp};
use serde_json::json;

use super::View;
use crate::{App, audit, authz};

/// What a new command is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// The shell text, not empty.
    pub command_text: String,
    /// Milliseconds a run may last.
    pub timeout_ms: Option<i64>,
    /// Open executions expire at this instant.
    pub expired_at: Option<Timestamp>,
    /// Which nodes.
    pub targeting: Targeting,
    /// The same as it was asked for, to be shown again.
    pub targeting_document: serde_json::Value,
    /// In batches; None sends it out at once.
    pub rollout: Option<RolloutPlan>,
}

/// Creates a command. Its executions follow within milliseconds.
///
/// # Errors
/// Invalid for a deadline in the past or a targeting without what its type needs.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<View> {
    authz::require(actor, Permission::CommandsRun)?;
    let now = app.now();
    check(&input, now)?;
    let command = Command {
        id: CommandId(app.ids.next()),
        command_text: input.command_text,
        timeout_ms: input.timeout_ms,
        expired_at: input.expired_at,
        targeting: input.targeting_document.to_string(),
        target_all: input.targeting.kind == TargetKind::All,
        created_by: actor.principal.label(),
        fanned_out: false,
        rollout: input.rollout.map(RolloutPlan::begin),
        inserted_at: now,
        updated_at: now,
    };
    let plan = super::fan_out::plan(&input.targeting)?;
    let mut tx = app.begin(actor).await?;
    table::insert(&mut tx, &command, &plan).await?;
    if let Some(rollout) = &command.rollout {
        rollouts::insert(&mut tx, Of::Command(&command.id), rollout, now).await?;
    }
    let details = json!({"command_text": command.command_text, "targeting": input.targeting_document});
    audit::record(app, &mut tx, actor, "command.create", command.id.as_str(), details).await?;
    if app.store.is_shared() {
        tx.wake(reeve_store::Topic::Commands);
    }
    tx.commit().await?;
    app.counters.commands.add(1);
    app.commands_changed();
    Ok(View { command, summary: CommandSummary::default() })
}

fn check(input: &Create, now: Timestamp) -> Result<()> {
    let mut error = Error::new(reeve_types::ErrorKind::Invalid, "Validation failed");
    if input.expired_at.is_some_and(|at| at <= now) {
        error = error.with_detail("expired_at", "must be in the future");
    }
    error = check_targeting(&input.targeting, error);
    if input.command_text.contains('\0') {
        error = error.with_detail("command_text", "must not contain NUL");
    }
    if error.details.is_empty() { Ok(()) } else { Err(error) }
}

/// Adds what a targeting lacks to `error`.
pub(crate) fn check_targeting(targeting: &Targeting, error: Error) -> Error {
    match targeting.kind {
        TargetKind::Nodes if targeting.node_ids.is_empty() => {
            error.with_detail("node_ids", "is required when targeting_type is 'nodes'")
        }
        TargetKind::Clusters if targeting.cluster_names.is_empty() => {
            error.with_detail("cluster_names", "is required when targeting_type is 'clusters'")
        }
        TargetKind::All | TargetKind::Nodes | TargetKind::Clusters => error,
    }
}
