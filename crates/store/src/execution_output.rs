//! What executions print: chunks while they run, one text once they ended.

use std::collections::BTreeMap;

use reeve_types::{CommandId, ExecutionId, NodeId, Result};

use crate::{Tx, Value, args};

/// Bytes of live output kept from its beginning and from its end.
const KEPT: i64 = 512 * 1024;

/// A piece of output and the byte offset at which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whose it is.
    pub execution_id: ExecutionId,
    /// Bytes before it.
    pub start: i64,
    /// The text.
    pub text: String,
}

/// Stores chunks of running executions; repeats are ignored. Of an execution that prints much the beginning and the end
/// stay, as of its final output: a command that never stops must not fill the disk.
///
/// # Errors
/// As the store.
pub async fn append(tx: &mut Tx, chunks: &[Chunk]) -> Result<()> {
    let rows: Vec<Vec<Value<'_>>> =
        chunks.iter().map(|c| vec![(&c.execution_id).into(), c.start.into(), (&c.text).into()]).collect();
    tx.insert_many(
        "execution_chunks (execution_id, start, text)",
        &rows,
        "ON CONFLICT (execution_id, start) DO NOTHING",
    )
    .await?;
    let mut newest: BTreeMap<&ExecutionId, i64> = BTreeMap::new();
    for chunk in chunks.iter().filter(|chunk| chunk.start > 2 * KEPT) {
        let start = newest.entry(&chunk.execution_id).or_insert(chunk.start);
        *start = chunk.start.max(*start);
    }
    for (id, start) in newest {
        let sql = "DELETE FROM execution_chunks WHERE execution_id = $1 AND start >= $2 AND start < $3";
        tx.execute(sql, args![id, KEPT, start - KEPT]).await?;
    }
    Ok(())
}

/// Replaces the chunks of an execution by its final output.
///
/// # Errors
/// As the store.
pub async fn finish(tx: &mut Tx, id: &ExecutionId, output: &str, had_chunks: bool) -> Result<()> {
    if !output.is_empty() {
        let sql = "INSERT INTO execution_outputs (execution_id, output) VALUES ($1, $2)
            ON CONFLICT (execution_id) DO UPDATE SET output = excluded.output";
        tx.execute(sql, args![id, output]).await?;
    }
    if had_chunks {
        tx.execute("DELETE FROM execution_chunks WHERE execution_id = $1", args![id]).await?;
    }
    Ok(())
}

/// The final output, None while there is none.
///
/// # Errors
/// As the store.
pub async fn final_output(tx: &mut Tx, id: &ExecutionId) -> Result<Option<String>> {
    let row = tx.opt("SELECT output FROM execution_outputs WHERE execution_id = $1", args![id]).await?;
    row.map(|mut row| row.get()).transpose()
}

/// Chunks that reach past `offset`, in order, at most `most`.
///
/// # Errors
/// As the store.
pub async fn chunks_after(tx: &mut Tx, id: &ExecutionId, offset: i64, most: i64) -> Result<Vec<Chunk>> {
    // The chunk in which `offset` lies starts before it.
    let sql = "SELECT start, text FROM execution_chunks WHERE execution_id = $1 AND start >= coalesce(
          (SELECT max(start) FROM execution_chunks WHERE execution_id = $1 AND start <= $2), 0)
        ORDER BY start LIMIT $3";
    let rows = tx.all(sql, args![id, offset, most]).await?;
    rows.into_iter()
        .map(|mut row| Ok(Chunk { execution_id: id.clone(), start: row.get()?, text: row.get()? }))
        .collect()
}

/// Chunks of a command's running executions stored after position `after`, in order, with their positions and the
/// nodes that they are from.
///
/// # Errors
/// As the store.
pub async fn chunks_of_command(
    tx: &mut Tx,
    command: &CommandId,
    after: i64,
    most: i64,
) -> Result<Vec<(i64, Option<NodeId>, Chunk)>> {
    let sql = "SELECT c.seq, e.node_id, c.execution_id, c.start, c.text FROM execution_chunks c JOIN executions e ON e.id = c.execution_id
        WHERE c.seq > $2 AND e.command_id = $1 ORDER BY c.seq LIMIT $3";
    let rows = tx.all(sql, args![command, after, most]).await?;
    rows.into_iter()
        .map(|mut row| {
            let (seq, node) = (row.get()?, row.get()?);
            Ok((seq, node, Chunk { execution_id: row.get()?, start: row.get()?, text: row.get()? }))
        })
        .collect()
}
