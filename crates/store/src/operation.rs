//! Operations. A state is only ever left by `UPDATE ... WHERE status = ...`, so that of two ends the first stands.

use reeve_types::operation::{Operation, OperationFilter, OperationLine, OperationStatus};
use reeve_types::{JobId, OperationId, Page, Paged, Result, Timestamp};

use crate::filter::{Order, Where, page};
use crate::{Row, Topic, Tx, args, dialect};

const COLUMNS: &str = "id, kind, is_workflow, workspace_id, workspace, parent_id, node, job_id, status, check_mode, \
    subject, request, secrets_sealed, result, error, requested_by, retry_of, inserted_at, updated_at, started_at, \
    finished_at";
const LINE: &str = "id, status, inserted_at, updated_at, result, error";

fn read(mut r: Row) -> Result<Operation> {
    Ok(Operation {
        id: r.get()?,
        kind: r.get()?,
        is_workflow: r.get()?,
        workspace_id: r.get()?,
        workspace: r.get()?,
        parent_id: r.get()?,
        node: r.get()?,
        job_id: r.get()?,
        status: r.get()?,
        check_mode: r.get()?,
        subject: r.get()?,
        request: r.get()?,
        secrets_sealed: r.get()?,
        result: r.get()?,
        error: r.get()?,
        requested_by: r.get()?,
        retry_of: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
        started_at: r.get()?,
        finished_at: r.get()?,
    })
}

fn read_line(mut r: Row) -> Result<OperationLine> {
    Ok(OperationLine {
        id: r.get()?,
        status: r.get()?,
        inserted_at: r.get()?,
        updated_at: r.get()?,
        result: r.get()?,
        error: r.get()?,
    })
}

/// Inserts an operation.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, o: &Operation) -> Result<()> {
    let places: Vec<String> = (1..=21).map(|n| format!("${n}")).collect();
    let sql = format!("INSERT INTO operations ({COLUMNS}) VALUES ({})", places.join(", "));
    let args = args![
        &o.id,
        o.kind,
        o.is_workflow,
        o.workspace_id.as_ref(),
        &o.workspace,
        o.parent_id.as_ref(),
        o.node.as_deref(),
        o.job_id.as_ref(),
        o.status,
        o.check_mode,
        &o.subject,
        &o.request,
        o.secrets_sealed.as_deref(),
        o.result.as_deref(),
        o.error.as_deref(),
        &o.requested_by,
        o.retry_of.as_ref(),
        o.inserted_at,
        o.updated_at,
        o.started_at,
        o.finished_at
    ];
    tx.execute(&sql, args).await.map(|_| ())
}

/// The operation with this id.
///
/// # Errors
/// As the store.
pub async fn get(tx: &mut Tx, id: &OperationId) -> Result<Option<Operation>> {
    tx.opt(&format!("SELECT {COLUMNS} FROM operations WHERE id = $1"), args![id]).await?.map(read).transpose()
}

/// The operation with this id, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn lock(tx: &mut Tx, id: &OperationId) -> Result<Option<Operation>> {
    let sql = format!("SELECT {COLUMNS} FROM operations WHERE id = $1{}", dialect::for_update(tx));
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// What a workflow asked for, in order.
///
/// # Errors
/// As the store.
pub async fn children(tx: &mut Tx, parent: &OperationId) -> Result<Vec<Operation>> {
    let sql = format!("SELECT {COLUMNS} FROM operations WHERE parent_id = $1 ORDER BY inserted_at, id");
    tx.all(&sql, args![parent]).await?.into_iter().map(read).collect()
}

fn conditions(filter: &OperationFilter) -> Where<'_> {
    let mut w = Where::new();
    w.any_of("status", filter.statuses.iter().copied());
    w.eq("workspace", filter.workspace.as_deref());
    w.eq("kind", filter.kind);
    w.eq("is_workflow", filter.is_workflow);
    w.eq("parent_id", filter.parent_id.as_ref());
    w.range("inserted_at", &filter.inserted_at);
    w
}

/// Up to `most` operations as lines, the oldest first.
///
/// # Errors
/// As the store.
pub async fn lines(tx: &mut Tx, filter: &OperationFilter, most: i64) -> Result<Vec<OperationLine>> {
    let mut w = conditions(filter);
    let most = w.arg(most);
    let sql = format!("SELECT {LINE} FROM operations{} ORDER BY inserted_at, id LIMIT {most}", w.sql());
    tx.all(&sql, w.args()).await?.into_iter().map(read_line).collect()
}

/// A page of operations, the oldest or the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &OperationFilter, newest_first: bool, at: Page) -> Result<Paged<Operation>> {
    let order = Order::by("inserted_at", newest_first).then("id", newest_first);
    let (rows, total) = page(tx, COLUMNS, "operations", "operations", conditions(filter), &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Makes an operation a part of another workflow.
///
/// # Errors
/// As the store.
pub async fn adopt(tx: &mut Tx, id: &OperationId, parent: &OperationId) -> Result<()> {
    tx.execute("UPDATE operations SET parent_id = $2 WHERE id = $1", args![id, parent]).await.map(|_| ())
}

/// Says which job does it.
///
/// # Errors
/// As the store.
pub async fn set_job(tx: &mut Tx, id: &OperationId, job: &JobId) -> Result<()> {
    tx.execute("UPDATE operations SET job_id = $2 WHERE id = $1", args![id, job]).await.map(|_| ())
}

/// Moves it to running. False when it is in a final state.
///
/// # Errors
/// As the store.
pub async fn begin(tx: &mut Tx, id: &OperationId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE operations SET status = 'running', updated_at = $2, started_at = coalesce(started_at, $2)
        WHERE id = $1 AND status IN ('pending', 'running')";
    tx.wake(Topic::Output);
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Ends it as `to`. False when it has ended already.
///
/// # Errors
/// As the store.
pub async fn end(
    tx: &mut Tx,
    id: &OperationId,
    to: OperationStatus,
    result: Option<&str>,
    error: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let from = if to == OperationStatus::Completed { "('running')" } else { "('pending', 'running')" };
    let sql = format!(
        "UPDATE operations SET status = $2, result = $3, error = $4, updated_at = $5, finished_at = $5
         WHERE id = $1 AND status IN {from}"
    );
    tx.wake(Topic::Output);
    Ok(tx.execute(&sql, args![id, to, result, error, now]).await? == 1)
}

/// Adds to the result of an ended operation what became known later, as leftovers of an undo. Its state stays.
///
/// # Errors
/// As the store.
pub async fn set_error(tx: &mut Tx, id: &OperationId, error: &str, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE operations SET error = $2, updated_at = $3 WHERE id = $1 AND status = 'failed'";
    Ok(tx.execute(sql, args![id, error, now]).await? == 1)
}

/// Operations whose job has ended without telling them, and operations that hold locks although their job has ended: at
/// most `most`, with that job's state and error.
///
/// # Errors
/// As the store.
pub async fn unsettled(tx: &mut Tx, most: i64) -> Result<Vec<(Operation, reeve_types::job::JobState, Option<String>)>> {
    let sql = format!(
        "SELECT j.state, j.error, {} FROM operations o JOIN jobs j ON j.id = o.job_id
         WHERE j.finished_at IS NOT NULL AND o.id IN (
           SELECT id FROM operations WHERE finished_at IS NULL UNION SELECT operation_id FROM operation_locks)
         ORDER BY o.inserted_at, o.id LIMIT $1",
        COLUMNS.split(", ").map(|column| format!("o.{}", column.trim())).collect::<Vec<_>>().join(", ")
    );
    let rows = tx.all(&sql, args![most]).await?;
    rows.into_iter()
        .map(|mut row| {
            let (state, error) = (row.get()?, row.get()?);
            Ok((read(row)?, state, error))
        })
        .collect()
}

/// How many there are, and how many of them run.
///
/// # Errors
/// As the store.
pub async fn count(tx: &mut Tx) -> Result<(i64, i64)> {
    let sql = "SELECT (SELECT count(*) FROM operations),
        (SELECT count(*) FROM operations WHERE finished_at IS NULL AND status = 'running')";
    let mut row = tx.one(sql, &[]).await?;
    Ok((row.get()?, row.get()?))
}

/// How many have not ended.
///
/// # Errors
/// As the store.
pub async fn open(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT count(*) FROM operations WHERE finished_at IS NULL", &[]).await?.get()
}

/// How many of a workspace have not ended.
///
/// # Errors
/// As the store.
pub async fn open_in(tx: &mut Tx, workspace: &reeve_types::WorkspaceId) -> Result<i64> {
    let sql = "SELECT count(*) FROM operations WHERE finished_at IS NULL AND workspace_id = $1";
    tx.one(sql, args![workspace]).await?.get()
}

/// Drops up to `most` operations that ended before `before`. What a workflow asked for goes with it. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE finished_at IS NOT NULL
        AND finished_at < $1 AND parent_id IS NULL ORDER BY finished_at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
