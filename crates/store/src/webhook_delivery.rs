//! Deliveries of events to webhooks: made in batches, read by what is due, settled in batches.
//!
//! `attempts` is the version of a row: who settles an attempt names the number it began with, so that an attempt of a
//! server that lost its lease, or of before a redelivery, changes nothing.

use reeve_types::webhook::{Delivery, DeliveryFilter, DeliveryState};
use reeve_types::{DeliveryId, Page, Paged, Result, Timestamp, WebhookId};

use crate::filter::{Order, Where, page};
use crate::{Row, Tx, Value, args, dialect};

const COLUMNS: &str = "id, webhook_id, event_seq, event_id, kind, event_at, state, attempts, tries, next_at, attempted_at, \
    http_status, error, answer, duration_ms, inserted_at, finished_at";
/// Webhooks that one statement of [`due`] asks for.
const BRANCHES: usize = 16;

fn read(mut row: Row) -> Result<Delivery> {
    Ok(Delivery {
        id: row.get()?,
        webhook_id: row.get()?,
        event_seq: row.get()?,
        event_id: row.get()?,
        kind: row.get()?,
        event_at: row.get()?,
        state: row.get()?,
        attempts: row.get()?,
        tries: row.get()?,
        next_at: row.get()?,
        attempted_at: row.get()?,
        http_status: row.get()?,
        error: row.get()?,
        answer: row.get()?,
        duration_ms: row.get()?,
        inserted_at: row.get()?,
        finished_at: row.get()?,
    })
}

/// Inserts waiting deliveries; one that is there already stays as it is. Says how many were added.
///
/// # Errors
/// As the store; a foreign key violation when a webhook is gone.
pub async fn insert(tx: &mut Tx, deliveries: &[Delivery]) -> Result<u64> {
    let row = |d: &'_ Delivery| -> Vec<Value<'static>> {
        vec![
            d.id.0.clone().into(),
            d.webhook_id.0.clone().into(),
            d.event_seq.into(),
            d.event_id.0.clone().into(),
            d.kind.clone().into(),
            d.event_at.into(),
            d.state.into(),
            d.next_at.into(),
            d.inserted_at.into(),
        ]
    };
    let rows: Vec<_> = deliveries.iter().map(row).collect();
    let into = "webhook_deliveries (id, webhook_id, event_seq, event_id, kind, event_at, state, next_at, inserted_at)";
    tx.insert_many(into, &rows, "ON CONFLICT (id) DO NOTHING").await
}

/// The delivery with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &DeliveryId) -> Result<Option<Delivery>> {
    let sql = format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE id = $1");
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of the log, the newest first.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &DeliveryFilter, at: Page) -> Result<Paged<Delivery>> {
    let mut w = Where::new();
    w.eq("webhook_id", filter.webhook_id.as_ref());
    w.any_of("state", filter.states.iter().copied());
    w.text("kind", &filter.kind);
    w.eq("event_id", filter.event_id.as_ref());
    w.range("http_status", &filter.http_status);
    w.text("error", &filter.error);
    w.range("inserted_at", &filter.inserted_at);
    let from = "webhook_deliveries";
    let (rows, total) = page(tx, COLUMNS, from, from, w, &Order::by("id", true), at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// The first `most` waiting deliveries of each webhook in the order in which they are to be attempted, those that are not
/// due yet among them.
///
/// # Errors
/// As the store.
pub async fn due(tx: &mut Tx, webhooks: &[WebhookId], most: i64) -> Result<Vec<Delivery>> {
    let branch = |n: usize| {
        format!(
            "SELECT * FROM (SELECT {COLUMNS} FROM webhook_deliveries WHERE webhook_id = ${} AND state = 'pending'
             ORDER BY next_at, event_seq LIMIT $1) AS of_{n}",
            n + 2
        )
    };
    let mut found = Vec::new();
    for chunk in webhooks.chunks(BRANCHES) {
        // Two statement texts: a single webhook, and a full house with empty seats.
        let branches = if chunk.len() == 1 { 1 } else { BRANCHES };
        let sql: Vec<String> = (0..branches).map(branch).collect();
        let mut args: Vec<Value<'_>> = vec![most.into()];
        args.extend((0..branches).map(|n| chunk.get(n).map_or_else(|| Value::from(""), Value::from)));
        let rows = tx.all(&sql.join(" UNION ALL "), &args).await?;
        found.reserve(rows.len());
        for row in rows {
            found.push(read(row)?);
        }
    }
    Ok(found)
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Settled {
    /// Which delivery.
    pub id: DeliveryId,
    /// Attempts before this one.
    pub attempts: i64,
    /// What it becomes; Pending to be attempted again.
    #[serde(serialize_with = "word")]
    pub state: DeliveryState,
    /// 1 for an attempt, 0 when it ended without one.
    pub attempted: i64,
    /// For Pending: not before this instant.
    pub next_at: Timestamp,
    /// When the attempt began.
    pub at: Timestamp,
    /// HTTP status of the answer.
    pub http_status: Option<i64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// Length of the attempt.
    pub duration_ms: Option<i64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
fn word<S: serde::Serializer>(state: &DeliveryState, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(state.word())
}

/// Settles attempts with one statement. Rows that changed meanwhile are left alone. Says how many were settled.
///
/// # Errors
/// As the store.
pub async fn settle(tx: &mut Tx, settled: &[Settled], now: Timestamp) -> Result<u64> {
    let records = dialect::json_records(
        tx,
        "$1",
        &[
            ("id", "TEXT"),
            ("attempts", "BIGINT"),
            ("state", "TEXT"),
            ("attempted", "BIGINT"),
            ("next_at", "BIGINT"),
            ("at", "BIGINT"),
            ("http_status", "BIGINT"),
            ("error", "TEXT"),
            ("answer", "TEXT"),
            ("duration_ms", "BIGINT"),
        ],
    );
    let sql = format!(
        "UPDATE webhook_deliveries SET state = s.state, attempts = webhook_deliveries.attempts + s.attempted,
           tries = tries + s.attempted, next_at = s.next_at,
           attempted_at = CASE WHEN s.attempted = 1 THEN s.at ELSE attempted_at END, http_status = s.http_status,
           error = s.error, answer = s.answer, duration_ms = s.duration_ms,
           finished_at = CASE WHEN s.state = 'pending' THEN NULL ELSE CAST($2 AS BIGINT) END
         FROM ({records}) AS s
         WHERE webhook_deliveries.id = s.id AND webhook_deliveries.state = 'pending'
           AND webhook_deliveries.attempts = s.attempts"
    );
    tx.execute(&sql, args![dialect::json_text(settled)?, now]).await
}

/// Queues a delivery again with all its tries. False when it is gone.
///
/// # Errors
/// As the store.
pub async fn requeue(tx: &mut Tx, id: &DeliveryId, now: Timestamp) -> Result<bool> {
    let sql =
        "UPDATE webhook_deliveries SET state = 'pending', tries = 0, next_at = $2, inserted_at = $2, finished_at = NULL
        WHERE id = $1";
    Ok(tx.execute(sql, args![id, now]).await? == 1)
}

/// Queues the failed and dropped deliveries of a webhook again whose events happened in the period. Says how many.
///
/// # Errors
/// As the store.
pub async fn requeue_since(
    tx: &mut Tx,
    webhook: &WebhookId,
    since: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<u64> {
    let sql = "UPDATE webhook_deliveries SET state = 'pending', tries = 0, next_at = $4, inserted_at = $4,
          finished_at = NULL
        WHERE webhook_id = $1 AND state IN ('failed', 'dropped') AND event_at >= $2 AND event_at <= $3 AND event_seq > 0";
    tx.execute(sql, args![webhook, since, until, now]).await
}

/// Gives up up to `most` waiting deliveries of a webhook that were made before `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn drop_old(tx: &mut Tx, webhook: &WebhookId, before: Timestamp, now: Timestamp, most: i64) -> Result<u64> {
    let sql = "UPDATE webhook_deliveries SET state = 'dropped', finished_at = $3, error = 'older than the maximum age'
        WHERE id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'pending' AND inserted_at < $2
          AND next_at < $3 ORDER BY next_at LIMIT $4)";
    tx.execute(sql, args![webhook, before, now, most]).await
}

/// Drops up to `most` ended deliveries whose id sorts before `before` from the log. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: &str, most: i64) -> Result<u64> {
    let sql = "DELETE FROM webhook_deliveries WHERE id IN
        (SELECT id FROM webhook_deliveries WHERE id < $1 AND state <> 'pending' ORDER BY id LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
