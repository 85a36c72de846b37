//! The feed of events.

use reeve_types::event::{Event, NewEvent};
use reeve_types::id::Ids;
use reeve_types::{Result, Timestamp};

use crate::dialect::{Log, lock_log};
use crate::filter::Where;
use crate::{Topic, Tx, Value, args};

/// Appends events in the transaction of the change they tell of. Call it last before the commit.
///
/// # Errors
/// As the store.
pub async fn append(tx: &mut Tx, ids: &dyn Ids, now: Timestamp, events: &[NewEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    lock_log(tx, Log::Events).await?;
    for slice in events.chunks(5_000) {
        let rows: Vec<Vec<Value<'_>>> = slice
            .iter()
            .map(|e| vec![ids.next().into(), e.kind.into(), (&e.subject).into(), now.into(), e.data.to_string().into()])
            .collect();
        tx.insert_many("events (id, kind, subject, at, data)", &rows, "").await?;
    }
    tx.wake(Topic::Events);
    Ok(())
}

/// Events after position `after`, in order, at most `most`; of these types, or of every type when `kinds` is empty.
///
/// # Errors
/// As the store.
pub async fn after(tx: &mut Tx, after: i64, kinds: &[String], most: i64) -> Result<Vec<Event>> {
    let mut w = Where::new();
    let position = w.arg(after);
    w.raw(format!("seq > {position}"));
    w.any_of("kind", kinds);
    let conditions = w.sql();
    let most = w.arg(most);
    let sql = format!("SELECT seq, id, kind, subject, at, data FROM events{conditions} ORDER BY seq LIMIT {most}");
    let rows = tx.all(&sql, w.args()).await?;
    rows.into_iter().map(read).collect()
}

/// The newest events, in order, at most `most`; of these types, or of every type when `kinds` is empty.
///
/// # Errors
/// As the store.
pub async fn newest(tx: &mut Tx, kinds: &[String], most: i64) -> Result<Vec<Event>> {
    let mut w = Where::new();
    w.any_of("kind", kinds);
    let conditions = w.sql();
    let most = w.arg(most);
    let sql = format!("SELECT seq, id, kind, subject, at, data FROM events{conditions} ORDER BY seq DESC LIMIT {most}");
    let mut rows = tx.all(&sql, w.args()).await?;
    rows.reverse();
    rows.into_iter().map(read).collect()
}

/// The events at these positions as far as they are still in the feed.
///
/// # Errors
/// As the store.
pub async fn at_positions(tx: &mut Tx, positions: &[i64]) -> Result<Vec<Event>> {
    let records: Vec<_> = positions.iter().map(|seq| serde_json::json!({ "seq": seq })).collect();
    let json = serde_json::to_string(&records).map_err(reeve_types::Error::internal)?;
    let these = crate::dialect::json_records(tx, "$1", &[("seq", "BIGINT")]);
    let sql = format!("SELECT seq, id, kind, subject, at, data FROM events WHERE seq IN ({these})");
    tx.all(&sql, args![json]).await?.into_iter().map(read).collect()
}

/// Events of a period up to position `last`, in order, at most `most`; of these types.
///
/// # Errors
/// As the store.
pub async fn of_period(
    tx: &mut Tx,
    kinds: &[String],
    period: &reeve_types::Range<Timestamp>,
    last: i64,
    most: i64,
) -> Result<Vec<Event>> {
    let mut w = Where::new();
    w.any_of("kind", kinds);
    w.range("at", period);
    let last = w.arg(last);
    w.raw(format!("seq <= {last}"));
    let conditions = w.sql();
    let most = w.arg(most);
    let sql = format!("SELECT seq, id, kind, subject, at, data FROM events{conditions} ORDER BY seq LIMIT {most}");
    tx.all(&sql, w.args()).await?.into_iter().map(read).collect()
}

fn read(mut r: crate::Row) -> Result<Event> {
    Ok(Event { seq: r.get()?, id: r.get()?, kind: r.get()?, subject: r.get()?, at: r.get()?, data: r.get()? })
}

/// The position of the newest event, 0 when there is none.
///
/// # Errors
/// As the store.
pub async fn last_position(tx: &mut Tx) -> Result<i64> {
    tx.one("SELECT coalesce(max(seq), 0) FROM events", &[]).await?.get()
}

/// Drops up to `most` events older than `before`. Says how many.
///
/// # Errors
/// As the store.
pub async fn prune(tx: &mut Tx, before: Timestamp, most: i64) -> Result<u64> {
    let sql = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < $1 ORDER BY at LIMIT $2)";
    tx.execute(sql, args![before, most]).await
}
