//! What jobs print: chunks at byte offsets, the middle of a long output dropped.

use reeve_types::{JobId, Result, Timestamp};

use crate::{Topic, Tx, Value, args};

/// A piece of output and the byte offset at which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes before it.
    pub start: i64,
    /// The text.
    pub text: String,
}

/// The offset after the last byte of a job's output.
///
/// # Errors
/// As the store.
pub async fn end(tx: &mut Tx, id: &JobId) -> Result<i64> {
    let sql = "SELECT start + octet_length(text) FROM job_output WHERE job_id = $1 ORDER BY start DESC LIMIT 1";
    Ok(tx.opt(sql, args![id]).await?.map(|mut row| row.get()).transpose()?.unwrap_or(0))
}

/// Appends chunks.
///
/// # Errors
/// As the store.
pub async fn append(tx: &mut Tx, id: &JobId, now: Timestamp, chunks: &[Chunk]) -> Result<()> {
    let rows: Vec<Vec<Value<'_>>> =
        chunks.iter().map(|c| vec![id.into(), c.start.into(), (&c.text).into(), now.into()]).collect();
    tx.insert_many("job_output (job_id, start, text, at)", &rows, "").await?;
    tx.wake(Topic::Output);
    Ok(())
}

/// Drops the chunks that start in `from..to`.
///
/// # Errors
/// As the store.
pub async fn drop_between(tx: &mut Tx, id: &JobId, from: i64, to: i64) -> Result<()> {
    let sql = "DELETE FROM job_output WHERE job_id = $1 AND start >= $2 AND start < $3";
    tx.execute(sql, args![id, from, to]).await.map(|_| ())
}

/// Chunks that reach past `offset`, in order, at most `most`.
///
/// # Errors
/// As the store.
pub async fn chunks_after(tx: &mut Tx, id: &JobId, offset: i64, most: i64) -> Result<Vec<Chunk>> {
    // The chunk in which `offset` lies starts before it.
    let sql = "SELECT start, text FROM job_output WHERE job_id = $1 AND start >= coalesce(
          (SELECT max(start) FROM job_output WHERE job_id = $1 AND start <= $2), 0)
        ORDER BY start LIMIT $3";
    let rows = tx.all(sql, args![id, offset, most]).await?;
    rows.into_iter().map(|mut row| Ok(Chunk { start: row.get()?, text: row.get()? })).collect()
}
