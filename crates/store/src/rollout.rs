//! Rollouts of commands in batches.

use reeve_types::rollout::{Rollout, RolloutState};
use reeve_types::{CommandId, Result, Timestamp};

use crate::{Tx, args};

/// Stores the rollout of a new command.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, command: &CommandId, rollout: &Rollout, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO rollouts (command_id, state, canary, batch_size, max_failures, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let r = rollout;
    tx.execute(sql, args![command, r.state, r.canary, r.batch_size.to_string(), r.max_failures, now]).await?;
    Ok(())
}

/// Writes a rollout that was in state `before`. False when it is in another by now.
///
/// # Errors
/// As the store.
pub async fn update(
    tx: &mut Tx,
    command: &CommandId,
    before: RolloutState,
    rollout: &Rollout,
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE rollouts SET state = $3, current_batch = $4, batches = $5, failures = $6, forgiven = $7, updated_at = $8
        WHERE command_id = $1 AND state = $2";
    let r = rollout;
    let args = args![command, before, r.state, r.current_batch, r.batches, r.failures, r.forgiven, now];
    Ok(tx.execute(sql, args).await? == 1)
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
