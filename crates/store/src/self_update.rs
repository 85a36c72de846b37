//! Self-update requests and the nodes they are for.

use std::collections::HashMap;

use reeve_types::self_update::{
    SelfUpdateFilter, SelfUpdateProgress, SelfUpdateRequest, SelfUpdateState, SelfUpdateSummary, SelfUpdateTarget,
};
use reeve_types::{NodeId, Page, Paged, Result, SelfUpdateRequestId, ServerId, Sort, Timestamp};

use crate::filter::{Order, Where, order_by, page};
use crate::{Row, Tx, Value, args, rollout};

const COLUMNS: &str = "q.id, q.targeting, q.status, q.created_by, q.total, q.triggered, q.failed, q.cancelled, \
    q.inserted_at, q.updated_at";
const FROM: &str = "self_update_requests q LEFT JOIN self_update_rollouts r ON r.request_id = q.id";
const SORTABLE: &[(&str, &str)] = &[("inserted_at", "q.inserted_at"), ("updated_at", "q.updated_at")];
/// Targets that are neither done with nor waiting for their batch.
const OPEN: &str = "state IN ('pending', 'sent')";

fn columns() -> String {
    format!("{COLUMNS}, {}", rollout::COLUMNS)
}

fn read(mut row: Row) -> Result<SelfUpdateRequest> {
    let (id, targeting, status, created_by) = (row.get()?, row.get()?, row.get()?, row.get()?);
    let counts: [Option<i64>; 4] = [row.get()?, row.get()?, row.get()?, row.get()?];
    let summary = match counts {
        [Some(total), Some(triggered), Some(failed), Some(cancelled)] => {
            Some(SelfUpdateSummary { total, triggered, failed, cancelled })
        }
        _ => None,
    };
    let (inserted_at, updated_at) = (row.get()?, row.get()?);
    let rollout = rollout::read(&mut row)?;
    Ok(SelfUpdateRequest { id, targeting, status, created_by, summary, rollout, inserted_at, updated_at })
}

/// Stores a new request without its rollout. `plan` is the targeting as the work reads it, JSON text.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, request: &SelfUpdateRequest, plan: &str) -> Result<()> {
    let sql = "INSERT INTO self_update_requests (id, targeting, plan, status, created_by, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let q = request;
    tx.execute(sql, args![&q.id, &q.targeting, plan, q.status, &q.created_by, q.inserted_at, q.updated_at]).await?;
    Ok(())
}

/// The request with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &SelfUpdateRequestId) -> Result<Option<SelfUpdateRequest>> {
    let sql = format!("SELECT {} FROM {FROM} WHERE q.id = $1", columns());
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of requests.
///
/// # Errors
/// As the store.
pub async fn list(
    tx: &mut Tx,
    filter: &SelfUpdateFilter,
    sorts: &[Sort],
    at: Page,
) -> Result<Paged<SelfUpdateRequest>> {
    let mut w = Where::new();
    w.any_of("q.status", filter.status.iter().copied());
    w.range("q.inserted_at", &filter.inserted_at);
    w.range("q.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "q.inserted_at", "q.id");
    let (rows, total) = page(tx, &columns(), FROM, "self_update_requests q", w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Requests whose nodes are not known yet, oldest first, with their plans.
///
/// # Errors
/// As the store.
pub async fn waiting(tx: &mut Tx, most: i64) -> Result<Vec<(SelfUpdateRequestId, String)>> {
    let sql = "SELECT id, plan FROM self_update_requests WHERE status <> 'completed' AND status = 'pending'
        ORDER BY id LIMIT $1";
    tx.all(sql, args![most]).await?.into_iter().map(|mut row| Ok((row.get()?, row.get()?))).collect()
}

/// Requests whose nodes are being asked; at most `most`.
///
/// # Errors
/// As the store.
pub async fn processing(tx: &mut Tx, most: i64) -> Result<Vec<SelfUpdateRequestId>> {
    let sql = "SELECT id FROM self_update_requests WHERE status <> 'completed' AND status = 'processing'
        ORDER BY id LIMIT $1";
    tx.all(sql, args![most]).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Marks that the nodes of a request are known. False when they were already.
///
/// # Errors
/// As the store.
pub async fn start(tx: &mut Tx, id: &SelfUpdateRequestId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE self_update_requests SET status = 'processing', updated_at = $2
        WHERE id = $1 AND status = 'pending'";
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Marks that nothing more will happen. False when that was known already.
///
/// # Errors
/// As the store.
pub async fn complete(
    tx: &mut Tx,
    id: &SelfUpdateRequestId,
    summary: &SelfUpdateSummary,
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE self_update_requests
        SET status = 'completed', total = $2, triggered = $3, failed = $4, cancelled = $5, updated_at = $6
        WHERE id = $1 AND status = 'processing'";
    let s = summary;
    Ok(tx.execute(sql, args![id, s.total, s.triggered, s.failed, s.cancelled, now]).await? == 1)
}

/// Removes a completed request with its targets. False when it is not completed or gone.
///
/// # Errors
/// As the store.
pub async fn delete_completed(tx: &mut Tx, id: &SelfUpdateRequestId) -> Result<bool> {
    let sql = "DELETE FROM self_update_requests WHERE id = $1 AND status = 'completed'";
    Ok(tx.execute(sql, args![id]).await? == 1)
}

/// A node of a request, before it is stored.
#[derive(Clone, Debug)]
pub struct NewTarget {
    /// Row id.
    pub id: String,
    /// The node.
    pub node_id: NodeId,
    /// The batch of the rollout, 0 without one.
    pub batch: i64,
}

/// Stores the nodes of a request; those of the first batch may be asked.
///
/// # Errors
/// As the store.
pub async fn insert_targets(
    tx: &mut Tx,
    request: &SelfUpdateRequestId,
    targets: &[NewTarget],
    now: Timestamp,
) -> Result<()> {
    let row = |t: &NewTarget| -> Vec<Value<'static>> {
        let released_at = (t.batch == 0).then_some(now);
        vec![
            t.id.clone().into(),
            request.0.clone().into(),
            t.node_id.0.clone().into(),
            t.batch.into(),
            SelfUpdateState::Pending.into(),
            released_at.into(),
            now.into(),
        ]
    };
    let rows: Vec<_> = targets.iter().map(row).collect();
    let into = "self_update_targets (id, request_id, node_id, batch, state, released_at, updated_at)";
    tx.insert_many(into, &rows, "").await?;
    Ok(())
}

/// How the nodes of these requests stand.
///
/// # Errors
/// As the store.
pub async fn progress_of(
    tx: &mut Tx,
    ids: &[SelfUpdateRequestId],
) -> Result<HashMap<SelfUpdateRequestId, SelfUpdateProgress>> {
    let mut found: HashMap<SelfUpdateRequestId, SelfUpdateProgress> = HashMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    let mut w = Where::new();
    w.any_of("request_id", ids);
    let sql =
        format!("SELECT request_id, state, count(*) FROM self_update_targets{} GROUP BY request_id, state", w.sql());
    for mut row in tx.all(&sql, w.args()).await? {
        let progress = found.entry(row.get()?).or_default();
        progress.add(row.get()?, row.get()?);
    }
    Ok(found)
}

/// How far the batch that is out has got: `(open, failed)` among all nodes of the batches up to `batch`.
///
/// # Errors
/// As the store.
pub async fn batch_progress(tx: &mut Tx, id: &SelfUpdateRequestId, batch: i64) -> Result<(i64, i64)> {
    let sql = format!(
        "SELECT count(CASE WHEN {OPEN} THEN 1 END), count(CASE WHEN state = 'failed' THEN 1 END)
        FROM self_update_targets WHERE request_id = $1 AND batch <= $2"
    );
    let mut row = tx.one(&sql, args![id, batch]).await?;
    Ok((row.get()?, row.get()?))
}

/// Lets the nodes of the batches up to `batch` be asked.
///
/// # Errors
/// As the store.
pub async fn release(tx: &mut Tx, id: &SelfUpdateRequestId, batch: i64, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE self_update_targets SET released_at = $3, updated_at = $3
        WHERE request_id = $1 AND batch <= $2 AND released_at IS NULL AND state = 'pending'";
    tx.execute(sql, args![id, batch, now]).await
}

/// An order that waits for its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Row id of the target.
    pub id: String,
    /// The request.
    pub request_id: SelfUpdateRequestId,
    /// The node.
    pub node_id: NodeId,
}

fn read_waiting(mut row: Row) -> Result<Waiting> {
    Ok(Waiting { id: row.get()?, request_id: row.get()?, node_id: row.get()? })
}

/// Orders for agents that are connected to `server` and were not given to them yet, after the id `after`.
///
/// # Errors
/// As the store.
pub async fn deliverable(tx: &mut Tx, server: &ServerId, after: &str, most: i64) -> Result<Vec<Waiting>> {
    let sql = "SELECT t.id, t.request_id, t.node_id FROM self_update_targets t JOIN nodes n ON n.id = t.node_id
        WHERE t.state IN ('pending', 'sent') AND t.state = 'pending' AND t.released_at IS NOT NULL
          AND n.connected_server = $1 AND t.id > $2 ORDER BY t.id LIMIT $3";
    tx.all(sql, args![server, after, most]).await?.into_iter().map(read_waiting).collect()
}

/// Orders that a node has not answered yet, given to it or not.
///
/// # Errors
/// As the store.
pub async fn unanswered_by(tx: &mut Tx, node: &NodeId) -> Result<Vec<(Waiting, SelfUpdateState)>> {
    let sql = format!(
        "SELECT id, request_id, node_id, state FROM self_update_targets
        WHERE node_id = $1 AND {OPEN} AND released_at IS NOT NULL ORDER BY id LIMIT 100"
    );
    let read = |mut row: Row| {
        Ok((Waiting { id: row.get()?, request_id: row.get()?, node_id: row.get()? }, row.get::<SelfUpdateState>()?))
    };
    tx.all(&sql, args![node]).await?.into_iter().map(read).collect()
}

/// Marks orders as given to their agents, and says which were not before.
///
/// # Errors
/// As the store.
pub async fn claim(tx: &mut Tx, ids: &[String], now: Timestamp) -> Result<Vec<Waiting>> {
    let mut claimed = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(500) {
        let mut w = Where::new();
        let at = w.arg(now);
        w.any_of("id", chunk);
        w.raw("state = 'pending'");
        let sql = format!(
            "UPDATE self_update_targets SET state = 'sent', sent_at = {at}, updated_at = {at}{}
            RETURNING id, request_id, node_id",
            w.sql()
        );
        for row in tx.all(&sql, w.args()).await? {
            claimed.push(read_waiting(row)?);
        }
    }
    Ok(claimed)
}

/// Takes back that orders were given to their agents.
///
/// # Errors
/// As the store.
pub async fn unclaim(tx: &mut Tx, ids: &[String], now: Timestamp) -> Result<()> {
    for chunk in ids.chunks(500) {
        let mut w = Where::new();
        let at = w.arg(now);
        w.any_of("id", chunk);
        w.raw("state = 'sent'");
        let sql =
            format!("UPDATE self_update_targets SET state = 'pending', sent_at = NULL, updated_at = {at}{}", w.sql());
        tx.execute(&sql, w.args()).await?;
    }
    Ok(())
}

/// Notes a node's answer. False when there is nothing to answer (any more).
///
/// # Errors
/// As the store.
pub async fn answer(
    tx: &mut Tx,
    request: &SelfUpdateRequestId,
    node: &NodeId,
    state: SelfUpdateState,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let sql = format!(
        "UPDATE self_update_targets SET state = $3, reason = $4, answered_at = $5, updated_at = $5
        WHERE request_id = $1 AND node_id = $2 AND {OPEN} AND released_at IS NOT NULL"
    );
    Ok(tx.execute(&sql, args![request, node, state, reason, now]).await? == 1)
}

/// Fails what was let out before `before` and is not answered; at most `most` nodes. Says how many.
///
/// # Errors
/// As the store.
pub async fn fail_overdue(tx: &mut Tx, before: Timestamp, reason: &str, now: Timestamp, most: i64) -> Result<u64> {
    let sql = format!(
        "UPDATE self_update_targets SET state = 'failed', reason = $2, answered_at = $3, updated_at = $3
        WHERE {OPEN} AND id IN (SELECT id FROM self_update_targets
          WHERE {OPEN} AND released_at < $1 ORDER BY released_at, id LIMIT $4)"
    );
    tx.execute(&sql, args![before, reason, now, most]).await
}

/// Fails what a node has not answered, as when it is deleted.
///
/// # Errors
/// As the store.
pub async fn fail_of_node(tx: &mut Tx, node: &NodeId, reason: &str, now: Timestamp) -> Result<u64> {
    let sql = format!(
        "UPDATE self_update_targets SET state = 'failed', reason = $2, answered_at = $3, updated_at = $3
        WHERE node_id = $1 AND {OPEN}"
    );
    tx.execute(&sql, args![node, reason, now]).await
}

/// Ends what was not let out yet. Says how many nodes.
///
/// # Errors
/// As the store.
pub async fn cancel_held(tx: &mut Tx, id: &SelfUpdateRequestId, reason: &str, now: Timestamp) -> Result<u64> {
    let sql = "UPDATE self_update_targets SET state = 'cancelled', reason = $2, answered_at = $3, updated_at = $3
        WHERE request_id = $1 AND state = 'pending' AND released_at IS NULL";
    tx.execute(sql, args![id, reason, now]).await
}

/// Ends everything that is open. Says how many nodes.
///
/// # Errors
/// As the store.
pub async fn cancel_all(tx: &mut Tx, id: &SelfUpdateRequestId, reason: &str, now: Timestamp) -> Result<u64> {
    let sql = format!(
        "UPDATE self_update_targets SET state = 'cancelled', reason = $2, answered_at = $3, updated_at = $3
        WHERE request_id = $1 AND {OPEN}"
    );
    tx.execute(&sql, args![id, reason, now]).await
}

/// A page of the nodes of a request, in the order in which they are asked; in these states or in any.
///
/// # Errors
/// As the store.
pub async fn targets(
    tx: &mut Tx,
    id: &SelfUpdateRequestId,
    states: &[SelfUpdateState],
    at: Page,
) -> Result<Paged<SelfUpdateTarget>> {
    let mut w = Where::new();
    w.eq("t.request_id", Some(id));
    w.any_of("t.state", states.iter().copied());
    let (from, columns) = ("self_update_targets t", "t.node_id, t.batch, t.state, t.reason, t.sent_at, t.answered_at");
    let order = Order::by("t.batch", false).then("t.id", false);
    let (rows, total) = page(tx, columns, from, from, w, &order, at).await?;
    let read = |mut row: Row| {
        Ok(SelfUpdateTarget {
            node_id: row.get()?,
            batch: row.get()?,
            state: row.get()?,
            reason: row.get()?,
            sent_at: row.get()?,
            answered_at: row.get()?,
        })
    };
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}
