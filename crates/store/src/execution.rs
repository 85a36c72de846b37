//! Executions and their way from pending to a final state.

use reeve_types::execution::{Assignment, Execution, ExecutionStatus, NewExecution, Outcome};
use reeve_types::{ClusterId, CommandId, ExecutionId, NodeId, Result, ServerId, Timestamp};

pub use crate::execution_list::list;
use crate::{Row, Tx, Value, args, dialect};

pub(crate) const COLUMNS: &str = "e.id, e.command_id, m.command_text, m.timeout_ms, m.expired_at, e.node_id, rc.name, e.target_all, \
    e.status, e.exit_code, e.sent_at, e.started_at, e.completed_at, e.cancelled_at, e.inserted_at, e.updated_at, ";
pub(crate) const OUTPUT: &str = "o.output";
const NO_OUTPUT: &str = "CAST(NULL AS TEXT)";
pub(crate) const FROM: &str =
    "executions e JOIN commands m ON m.id = e.command_id LEFT JOIN clusters rc ON rc.id = e.cluster_id";
pub(crate) const OUTPUT_JOIN: &str = " LEFT JOIN execution_outputs o ON o.execution_id = e.id";
pub(crate) fn read(mut row: Row) -> Result<Execution> {
    Ok(Execution {
        id: row.get()?,
        command_id: row.get()?,
        command_text: row.get()?,
        timeout_ms: row.get()?,
        expired_at: row.get()?,
        node_id: row.get()?,
        cluster_name: row.get()?,
        target_all: row.get()?,
        status: row.get()?,
        exit_code: row.get()?,
        sent_at: row.get()?,
        started_at: row.get()?,
        completed_at: row.get()?,
        cancelled_at: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
        output: row.get()?,
    })
}

/// What the executions of one command have in common.
pub struct Common<'a> {
    /// The command.
    pub command_id: &'a CommandId,
    /// The recorded cluster.
    pub cluster_id: Option<&'a ClusterId>,
    /// Whether the command is for every node.
    pub target_all: bool,
    /// Creation.
    pub now: Timestamp,
}

/// Stores fresh pending executions; nodes that are gone by now are left out by the caller's transaction.
///
/// # Errors
/// As the store.
pub async fn insert_many(tx: &mut Tx, common: &Common<'_>, fresh: &[NewExecution]) -> Result<u64> {
    let into = "executions (id, command_id, node_id, cluster_id, target_all, batch, released, status, inserted_at, updated_at)";
    let mut inserted = 0;
    // In slices, so that a fan-out to many nodes does not hold every row twice.
    for slice in fresh.chunks(5_000) {
        let rows: Vec<Vec<Value<'_>>> = slice
            .iter()
            .map(|e| {
                vec![
                    (&e.id).into(),
                    common.command_id.into(),
                    (&e.node_id).into(),
                    common.cluster_id.into(),
                    common.target_all.into(),
                    e.batch.into(),
                    e.released.into(),
                    ExecutionStatus::Pending.into(),
                    common.now.into(),
                    common.now.into(),
                ]
            })
            .collect();
        inserted += tx.insert_many(into, &rows, "").await?;
    }
    Ok(inserted)
}

/// The execution with this id, with its output.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &ExecutionId) -> Result<Option<Execution>> {
    let sql = format!("SELECT {COLUMNS}{OUTPUT} FROM {FROM}{OUTPUT_JOIN} WHERE e.id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// Executions with these ids, without output.
///
/// # Errors
/// As the store.
pub async fn by_ids(tx: &mut Tx, ids: &[ExecutionId]) -> Result<Vec<Execution>> {
    let these = dialect::json_texts(tx, "$1");
    let sql = format!("SELECT {COLUMNS}{NO_OUTPUT} FROM {FROM} WHERE e.id IN ({these})");
    tx.all(&sql, args![list_of(ids)?]).await?.into_iter().map(read).collect()
}

/// Ids as one argument: the statement stays the same, however many they are.
fn list_of(ids: &[ExecutionId]) -> Result<String> {
    let ids: Vec<&str> = ids.iter().map(ExecutionId::as_str).collect();
    dialect::json_text(&ids)
}

/// Executions of a command that changed since `since`, after the position `after` among them, in order of change. Output
/// comes along for those that ended, unless it is larger than `inline_bytes`.
///
/// # Errors
/// As the store.
pub async fn changed(
    tx: &mut Tx,
    command: &CommandId,
    after: (Timestamp, &ExecutionId),
    inline_bytes: i64,
    most: i64,
) -> Result<Vec<Execution>> {
    let sql = format!(
        "SELECT {COLUMNS}{OUTPUT} FROM {FROM}
           LEFT JOIN execution_outputs o ON o.execution_id = e.id AND e.output_bytes <= $4
         WHERE e.command_id = $1 AND e.node_id IS NOT NULL AND (e.updated_at > $2 OR (e.updated_at = $2 AND e.id > $3))
         ORDER BY e.updated_at, e.id LIMIT $5"
    );
    let rows = tx.all(&sql, args![command, after.0, after.1, inline_bytes, most]).await?;
    rows.into_iter().map(read).collect()
}

/// Removes an execution that is in a final state. False when it is not, or is gone.
///
/// # Errors
/// As the store.
pub async fn delete_final(tx: &mut Tx, id: &ExecutionId) -> Result<bool> {
    let sql = "DELETE FROM executions WHERE id = $1 AND status NOT IN ('pending', 'sent')";
    Ok(tx.execute(sql, args![id]).await? == 1)
}

/// Pending executions that may go out, of nodes connected to `server`, oldest first, after the execution `after`.
///
/// # Errors
/// As the store.
pub async fn deliverable(
    tx: &mut Tx,
    server: &ServerId,
    now: Timestamp,
    after: &str,
    most: i64,
) -> Result<Vec<Assignment>> {
    let sql = "SELECT e.id, e.node_id, e.command_id, m.command_text, m.timeout_ms, m.expired_at
        FROM nodes n JOIN executions e ON e.node_id = n.id JOIN commands m ON m.id = e.command_id
        WHERE n.connected_server = $1 AND e.status IN ('pending', 'sent') AND e.status = 'pending' AND e.released = 1
          AND (m.expired_at IS NULL OR m.expired_at > $2) AND e.id > $3
        ORDER BY e.id LIMIT $4";
    assignments(tx.all(sql, args![server, now, after, most]).await?)
}

/// Pending executions of one node that may go out, oldest first.
///
/// # Errors
/// As the store.
pub async fn deliverable_to(tx: &mut Tx, node: &NodeId, now: Timestamp, most: i64) -> Result<Vec<Assignment>> {
    let sql = "SELECT e.id, e.node_id, e.command_id, m.command_text, m.timeout_ms, m.expired_at
        FROM executions e JOIN commands m ON m.id = e.command_id
        WHERE e.node_id = $1 AND e.status IN ('pending', 'sent') AND e.status = 'pending' AND e.released = 1
          AND (m.expired_at IS NULL OR m.expired_at > $2)
        ORDER BY e.id LIMIT $3";
    assignments(tx.all(sql, args![node, now, most]).await?)
}

fn assignments(rows: Vec<Row>) -> Result<Vec<Assignment>> {
    let mut found: Vec<Assignment> = Vec::with_capacity(rows.len());
    for mut row in rows {
        let (execution_id, node_id, command_id) = (row.get()?, row.get()?, row.get::<CommandId>()?);
        let text: String = row.get()?;
        // One copy of the text for all nodes of a command.
        let command_text = match found.last() {
            Some(last) if last.command_id == command_id => last.command_text.clone(),
            _ => text.into(),
        };
        let (timeout_ms, expired_at) = (row.get()?, row.get()?);
        found.push(Assignment { execution_id, node_id, command_id, command_text, timeout_ms, expired_at });
    }
    Ok(found)
}

/// Executions that the agent of `node` has taken and not answered for, with whether their cancellation is asked for.
///
/// # Errors
/// As the store.
pub async fn unanswered(tx: &mut Tx, node: &NodeId) -> Result<Vec<(ExecutionId, bool)>> {
    let sql = "SELECT id, CASE WHEN cancel_requested_at IS NULL THEN 0 ELSE 1 END FROM executions
        WHERE node_id = $1 AND status IN ('pending', 'sent') AND status = 'sent' ORDER BY id";
    tx.all(sql, args![node]).await?.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Sent executions on nodes of `server` whose cancellation was asked for since `since`.
///
/// # Errors
/// As the store.
pub async fn cancellations(tx: &mut Tx, server: &ServerId, since: Timestamp) -> Result<Vec<(ExecutionId, NodeId)>> {
    let sql = "SELECT e.id, e.node_id FROM nodes n JOIN executions e ON e.node_id = n.id
        WHERE n.connected_server = $1 AND e.status IN ('pending', 'sent') AND e.status = 'sent'
          AND e.cancel_requested_at >= $2 ORDER BY e.id LIMIT 20000";
    tx.all(sql, args![server, since]).await?.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Status of these executions as far as they are `node`'s: `(id, status, has an exit code)`.
///
/// # Errors
/// As the store.
pub async fn statuses(
    tx: &mut Tx,
    ids: &[ExecutionId],
) -> Result<Vec<(ExecutionId, Option<NodeId>, ExecutionStatus, bool)>> {
    let these = dialect::json_texts(tx, "$1");
    let sql = format!(
        "SELECT id, node_id, status, CASE WHEN exit_code IS NULL THEN 0 ELSE 1 END FROM executions WHERE id IN ({these})"
    );
    let rows = tx.all(&sql, args![list_of(ids)?]).await?;
    rows.into_iter().map(|mut row| Ok((row.get()?, row.get()?, row.get()?, row.get()?))).collect()
}

/// Notes that agents took these pending executions, and gives those that were pending; the others stay as they are.
///
/// # Errors
/// As the store.
pub async fn set_sent(tx: &mut Tx, ids: &[ExecutionId], now: Timestamp) -> Result<Vec<ExecutionId>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let these = dialect::json_texts(tx, "$1");
    let sql = format!(
        "UPDATE executions SET status = 'sent', sent_at = $2, updated_at = $2
         WHERE id IN ({these}) AND status = 'pending' RETURNING id"
    );
    tx.all(&sql, args![list_of(ids)?, now]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Notes that agents started these executions.
///
/// # Errors
/// As the store.
pub async fn set_started(tx: &mut Tx, ids: &[ExecutionId], now: Timestamp) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let these = dialect::json_texts(tx, "$1");
    let sql = format!(
        "UPDATE executions SET started_at = $2, updated_at = $2 WHERE id IN ({these}) AND status IN ('pending', 'sent')"
    );
    tx.execute(&sql, args![list_of(ids)?, now]).await?;
    Ok(())
}

/// Stores an outcome once: from an open state, or from a final one that has no exit code yet. None when it came late, else
/// whether it is the first that was heard of its agent having it. `started` says that the start was reported with it.
///
/// # Errors
/// As the store.
pub async fn set_outcome(tx: &mut Tx, outcome: &Outcome, started: bool, now: Timestamp) -> Result<Option<bool>> {
    let status = outcome.status();
    // An agent whose clock is wrong, or that lies, does not write the future down.
    let completed_at = outcome.completed_at.filter(|at| *at <= now).unwrap_or(now);
    let cancelled_at = (status == ExecutionStatus::Cancelled).then_some(completed_at);
    let sql = "UPDATE executions SET status = $2, exit_code = $3, output_bytes = $4, completed_at = $5,
          cancelled_at = coalesce($6, cancelled_at), sent_at = coalesce(sent_at, $7),
          started_at = coalesce(started_at, $8), updated_at = $7
        WHERE id = $1 AND (status IN ('pending', 'sent') OR (status IN ('cancelled', 'expired') AND exit_code IS NULL))
        RETURNING CASE WHEN sent_at = $7 THEN 1 ELSE 0 END";
    let bytes = i64::try_from(outcome.output.len()).unwrap_or(i64::MAX);
    let started_at = started.then_some(now);
    let args =
        args![&outcome.execution_id, status, outcome.exit_code, bytes, completed_at, cancelled_at, now, started_at];
    tx.opt(sql, args).await?.map(|mut row| row.get()).transpose()
}

/// Ends pending executions without an agent: cancelled or expired. Gives the ids that were still pending.
///
/// # Errors
/// As the store.
pub async fn end_pending(
    tx: &mut Tx,
    scope: Scope<'_>,
    status: ExecutionStatus,
    now: Timestamp,
) -> Result<Vec<ExecutionId>> {
    let cancelled_at = (status == ExecutionStatus::Cancelled).then_some(now);
    let (column, id) = scope.condition();
    let sql = format!(
        "UPDATE executions SET status = $2, cancelled_at = $3, updated_at = $4
         WHERE {column} = $1 AND status = 'pending' RETURNING id"
    );
    let rows = tx.all(&sql, args![id, status, cancelled_at, now]).await?;
    rows.into_iter().map(|mut row| row.get()).collect()
}

/// Ends every open execution in the scope, with an agent or not; a late report of the agent may still add its outcome.
/// Gives ids and nodes of those that this ended, and nobody else.
///
/// # Errors
/// As the store.
pub async fn end_open(
    tx: &mut Tx,
    scope: Scope<'_>,
    status: ExecutionStatus,
    now: Timestamp,
) -> Result<Vec<(ExecutionId, Option<NodeId>)>> {
    let cancelled_at = (status == ExecutionStatus::Cancelled).then_some(now);
    let (column, id) = scope.condition();
    let sql = format!(
        "UPDATE executions SET status = $2, cancelled_at = $3, updated_at = $4
         WHERE {column} = $1 AND status IN ('pending', 'sent') RETURNING id, node_id"
    );
    let ended = tx.all(&sql, args![id, status, cancelled_at, now]).await?;
    ended.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Asks for the cancellation of sent executions in the scope. Gives ids and nodes.
///
/// # Errors
/// As the store.
pub async fn request_cancel(tx: &mut Tx, scope: Scope<'_>, now: Timestamp) -> Result<Vec<(ExecutionId, NodeId)>> {
    let (column, id) = scope.condition();
    let sql = format!(
        "UPDATE executions SET cancel_requested_at = $2, updated_at = $2
         WHERE {column} = $1 AND status = 'sent' AND node_id IS NOT NULL RETURNING id, node_id"
    );
    tx.all(&sql, args![id, now]).await?.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Which executions a change is about.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// One.
    One(&'a ExecutionId),
    /// All of a command.
    Command(&'a CommandId),
    /// All of a node.
    Node(&'a NodeId),
}

impl<'a> Scope<'a> {
    fn condition(self) -> (&'static str, &'a str) {
        match self {
            Scope::One(id) => ("id", id.as_str()),
            Scope::Command(id) => ("command_id", id.as_str()),
            Scope::Node(id) => ("node_id", id.as_str()),
        }
    }
}

/// The oldest executions that ended and were made before `before`, kept from changing until the transaction ends.
///
/// # Errors
/// As the store.
pub async fn ended_before(tx: &mut Tx, before: Timestamp, most: i64) -> Result<Vec<ExecutionId>> {
    let sql = format!(
        "SELECT id FROM executions WHERE inserted_at < $1 AND status NOT IN ('pending', 'sent')
         ORDER BY inserted_at LIMIT $2{}",
        dialect::skip_locked(tx)
    );
    tx.all(&sql, args![before, most]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Drops those of these executions that have ended, with their output.
///
/// # Errors
/// As the store.
pub async fn delete_ended(tx: &mut Tx, ids: &[ExecutionId]) -> Result<u64> {
    let these = dialect::json_texts(tx, "$1");
    let sql = format!("DELETE FROM executions WHERE id IN ({these}) AND status NOT IN ('pending', 'sent')");
    tx.execute(&sql, args![list_of(ids)?]).await
}
