//! What operations did where, with its times.

use reeve_types::operation::{Phase, PhaseState};
use reeve_types::{OperationId, Result, Timestamp};

use crate::{Row, Tx, args};

fn read(mut r: Row) -> Result<Phase> {
    Ok(Phase {
        operation_id: r.get()?,
        name: r.get()?,
        position: r.get()?,
        state: r.get()?,
        detail: r.get()?,
        started_at: r.get()?,
        finished_at: r.get()?,
    })
}

/// Notes that a phase begins, again perhaps.
///
/// # Errors
/// As the store.
pub async fn begin(tx: &mut Tx, operation: &OperationId, name: &str, position: i64, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO operation_phases (operation_id, name, position, state, detail, started_at, finished_at)
        VALUES ($1, $2, $3, $4, NULL, $5, NULL)
        ON CONFLICT (operation_id, name) DO UPDATE SET position = excluded.position, state = excluded.state,
          detail = NULL, started_at = excluded.started_at, finished_at = NULL";
    tx.execute(sql, args![operation, name, position, PhaseState::Running, now]).await.map(|_| ())
}

/// Notes how a phase ended.
///
/// # Errors
/// As the store.
pub async fn end(
    tx: &mut Tx,
    operation: &OperationId,
    name: &str,
    state: PhaseState,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE operation_phases SET state = $3, detail = $4, finished_at = $5
        WHERE operation_id = $1 AND name = $2";
    Ok(tx.execute(sql, args![operation, name, state, detail, now]).await? == 1)
}

/// The first 5,000 phases of an operation, in order.
///
/// # Errors
/// As the store.
pub async fn of(tx: &mut Tx, operation: &OperationId) -> Result<Vec<Phase>> {
    let sql = "SELECT operation_id, name, position, state, detail, started_at, finished_at FROM operation_phases
        WHERE operation_id = $1 ORDER BY position, started_at, name LIMIT 5000";
    tx.all(sql, args![operation]).await?.into_iter().map(read).collect()
}
