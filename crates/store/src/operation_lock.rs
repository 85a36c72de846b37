//! One operation at a time on each resource.

use reeve_types::{OperationId, Result, Timestamp};

use crate::{Tx, args};

/// Takes `resource` for an operation. Gives the operation that has it, when that is another.
///
/// # Errors
/// As the store.
pub async fn take(tx: &mut Tx, resource: &str, operation: &OperationId, now: Timestamp) -> Result<Option<OperationId>> {
    let sql = "INSERT INTO operation_locks (resource, operation_id, inserted_at) VALUES ($1, $2, $3)
        ON CONFLICT (resource) DO NOTHING";
    if tx.execute(sql, args![resource, operation, now]).await? == 1 {
        return Ok(None);
    }
    let holder = holder(tx, resource).await?;
    Ok(holder.filter(|holder| holder != operation))
}

/// The operation that has `resource`.
///
/// # Errors
/// As the store.
pub async fn holder(tx: &mut Tx, resource: &str) -> Result<Option<OperationId>> {
    let sql = "SELECT operation_id FROM operation_locks WHERE resource = $1";
    tx.opt(sql, args![resource]).await?.map(|mut row| row.get()).transpose()
}

/// Hands what one operation has over to another. Says how much.
///
/// # Errors
/// As the store.
pub async fn hand_over(tx: &mut Tx, from: &OperationId, to: &OperationId) -> Result<u64> {
    tx.execute("UPDATE operation_locks SET operation_id = $2 WHERE operation_id = $1", args![from, to]).await
}

/// Gives back everything an operation has.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, operation: &OperationId) -> Result<u64> {
    tx.execute("DELETE FROM operation_locks WHERE operation_id = $1", args![operation]).await
}
