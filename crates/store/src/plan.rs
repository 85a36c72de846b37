//! Stored plans.

use reeve_types::plan::Plan;
use reeve_types::{OperationId, PlanId, Result, Timestamp};

use crate::{Row, Tx, args};

const COLUMNS: &str = "id, workspace_id, operation_id, kind, is_workflow, request, secrets_sealed, content, fingerprint, \
    applied_by, inserted_at";

fn read(mut r: Row) -> Result<Plan> {
    Ok(Plan {
        id: r.get()?,
        workspace_id: r.get()?,
        operation_id: r.get()?,
        kind: r.get()?,
        is_workflow: r.get()?,
        request: r.get()?,
        secrets_sealed: r.get()?,
        content: r.get()?,
        fingerprint: r.get()?,
        applied_by: r.get()?,
        inserted_at: r.get()?,
    })
}

/// Inserts a plan; one with this id stays as it is.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, p: &Plan) -> Result<()> {
    let sql = format!(
        "INSERT INTO plans ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING"
    );
    let args = args![
        &p.id,
        &p.workspace_id,
        &p.operation_id,
        p.kind,
        p.is_workflow,
        &p.request,
        p.secrets_sealed.as_deref(),
        &p.content,
        &p.fingerprint,
        p.applied_by.as_ref(),
        p.inserted_at
    ];
    tx.execute(&sql, args).await.map(|_| ())
}

/// The plan with this id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &PlanId) -> Result<Option<Plan>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM plans WHERE id = $1"), args![id]).await?.map(read).transpose()
}

/// The newest `most` plans.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, most: i64) -> Result<Vec<Plan>> {
    let sql = format!("SELECT {COLUMNS} FROM plans ORDER BY inserted_at DESC, id DESC LIMIT $1");
    tx.all(&sql, args![most]).await?.into_iter().map(read).collect()
}

/// Notes that an operation applies a plan. False when another one did.
///
/// # Errors
/// As the store.
pub async fn applied(tx: &mut Tx, id: &PlanId, operation: &OperationId) -> Result<bool> {
    let sql = "UPDATE plans SET applied_by = $2 WHERE id = $1 AND applied_by IS NULL";
    Ok(tx.execute(sql, args![id, operation]).await? == 1)
}

/// Says which operation applies a plan, or that none does.
///
/// # Errors
/// As the store.
pub async fn set_applied(tx: &mut Tx, id: &PlanId, operation: Option<&OperationId>) -> Result<()> {
    tx.execute("UPDATE plans SET applied_by = $2 WHERE id = $1", args![id, operation]).await.map(|_| ())
}

/// Drops up to `most` plans made before `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql =
        "DELETE FROM plans WHERE id IN (SELECT id FROM plans WHERE inserted_at < $1 ORDER BY inserted_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
