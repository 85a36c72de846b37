//! Rollouts in batches, of commands and of self-update requests: two tables with the same columns.

use reeve_types::rollout::{BatchSize, Rollout, RolloutState};
use reeve_types::{CommandId, Error, Result, SelfUpdateRequestId, Timestamp};

use crate::{Row, Tx, args};

/// What is rolled out.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// A command.
    Command(&'a CommandId),
    /// A self-update request.
    SelfUpdate(&'a SelfUpdateRequestId),
}

impl Of<'_> {
    fn table(&self) -> &'static str {
        match self {
            Of::Command(_) => "rollouts",
            Of::SelfUpdate(_) => "self_update_rollouts",
        }
    }

    fn key(&self) -> &'static str {
        match self {
            Of::Command(_) => "command_id",
            Of::SelfUpdate(_) => "request_id",
        }
    }

    fn id(&self) -> &str {
        match self {
            Of::Command(id) => id.as_str(),
            Of::SelfUpdate(id) => id.as_str(),
        }
    }
}

/// The columns of a rollout joined as `r`, in the order in which [`read`] takes them.
pub(crate) const COLUMNS: &str =
    "r.state, r.canary, r.batch_size, r.max_failures, r.current_batch, r.batches, r.failures, r.forgiven";

/// Reads [`COLUMNS`] of an outer join.
pub(crate) fn read(row: &mut Row) -> Result<Option<Rollout>> {
    let Some(state) = row.get::<Option<RolloutState>>()? else { return Ok(None) };
    let canary = row.get()?;
    let size: String = row.get()?;
    Ok(Some(Rollout {
        state,
        canary,
        batch_size: BatchSize::parse(&size).ok_or_else(|| Error::internal(format!("batch size `{size}`")))?,
        max_failures: row.get()?,
        current_batch: row.get()?,
        batches: row.get()?,
        failures: row.get()?,
        forgiven: row.get()?,
    }))
}

/// Stores a new rollout.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, of: Of<'_>, rollout: &Rollout, now: Timestamp) -> Result<()> {
    let sql = format!(
        "INSERT INTO {} ({}, state, canary, batch_size, max_failures, updated_at) VALUES ($1, $2, $3, $4, $5, $6)",
        of.table(),
        of.key()
    );
    let r = rollout;
    tx.execute(&sql, args![of.id(), r.state, r.canary, r.batch_size.to_string(), r.max_failures, now]).await?;
    Ok(())
}

/// Writes a rollout that was in state `before`. False when it is in another by now.
///
/// # Errors
/// As the store.
pub async fn update(tx: &mut Tx, of: Of<'_>, before: RolloutState, rollout: &Rollout, now: Timestamp) -> Result<bool> {
    let sql = format!(
        "UPDATE {} SET state = $3, current_batch = $4, batches = $5, failures = $6, forgiven = $7, updated_at = $8
        WHERE {} = $1 AND state = $2",
        of.table(),
        of.key()
    );
    let r = rollout;
    let args = args![of.id(), before, r.state, r.current_batch, r.batches, r.failures, r.forgiven, now];
    Ok(tx.execute(&sql, args).await? == 1)
}

/// Commands whose rollout goes on by itself; at most `most`.
///
/// # Errors
/// As the store.
pub async fn running(tx: &mut Tx, most: i64) -> Result<Vec<CommandId>> {
    let sql = "SELECT r.command_id FROM rollouts r JOIN commands m ON m.id = r.command_id
        WHERE r.state = 'running' AND m.fanned_out = 1 ORDER BY r.command_id LIMIT $1";
    tx.all(sql, args![most]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// How far the batch that is out has got: `(open, failed)` among all executions of the batches up to `batch`.
/// Failed is: completed with another code than 0, or expired.
///
/// # Errors
/// As the store.
pub async fn progress(tx: &mut Tx, command: &CommandId, batch: i64) -> Result<(i64, i64)> {
    let sql = "SELECT count(CASE WHEN status IN ('pending', 'sent') THEN 1 END),
          count(CASE WHEN (status = 'completed' AND coalesce(exit_code, 1) <> 0) OR status = 'expired' THEN 1 END)
        FROM executions WHERE command_id = $1 AND batch <= $2";
    let mut row = tx.one(sql, args![command, batch]).await?;
    Ok((row.get()?, row.get()?))
}

/// Lets the executions of the batches up to `batch` go to their agents. Says how many.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, command: &CommandId, batch: i64, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE executions SET released = 1, updated_at = $3
        WHERE command_id = $1 AND batch <= $2 AND released = 0 AND status = 'pending'";
    tx.execute(sql, args![command, batch, now]).await
}
