//! Watching a command or an execution: everything so far, then live, without losing or repeating output.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reeve_store::execution_output::{self as outputs, Chunk};
use reeve_store::{Topic, Tx, command as table, execution};
use reeve_types::command::CommandSummary;
use reeve_types::execution::{Execution, ExecutionStatus};
use reeve_types::{Actor, CommandId, Error, ExecutionId, NodeId, Permission, Result, Timestamp};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::execution::{Joined, at_boundary, join};
use crate::{App, authz};

/// Rows read at a time.
const PAGE: i64 = 200;
/// Output that comes along with its row; larger ones are read by themselves.
const INLINE_BYTES: i64 = 64 * 1024;
/// Output that waits to be told, in bytes; more is read later.
const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// A look at the store at least this often, in case a wake got lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Two looks are at least this far apart while much happens.
const CALM: Duration = Duration::from_millis(25);
/// How far the first ones are: the pause doubles with each look that follows closely on another.
const LIVELY: Duration = Duration::from_millis(2);
/// Bytes kept at each end of an output that was cut.
const KEPT: usize = 512 * 1024;

/// What a watcher gets to know.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A piece of output.
    Output {
        /// Whose it is.
        execution_id: ExecutionId,
        /// Its node.
        node_id: Option<NodeId>,
        /// Bytes before it.
        offset: i64,
        /// Bytes up to its end.
        next_offset: i64,
        /// The text.
        text: String,
    },
    /// An execution changed; without its output.
    Execution(Box<Execution>),
    /// Every execution of the command has ended.
    End(CommandSummary),
    /// The watched execution has ended; with its output.
    Ended(Box<Execution>),
}

struct Seen {
    status: ExecutionStatus,
    started: bool,
    offset: i64,
    node: Option<NodeId>,
}

/// A watch over all executions of a command.
pub struct Watch {
    app: Arc<App>,
    id: CommandId,
    wakes: Wakes,
    changed_after: (Timestamp, ExecutionId),
    chunks_after: i64,
    seen: HashMap<ExecutionId, Seen>,
    waiting: VecDeque<Progress>,
    resumed: bool,
    ended: bool,
}

/// Watches a command. `resume` is a [`Watch::token`] of an earlier watch: what ended before it is not told again.
///
/// # Errors
/// NotFound; Invalid for a token of something else.
pub async fn watch(app: &Arc<App>, actor: &Actor, id: &CommandId, resume: Option<String>) -> Result<Watch> {
    authz::require(actor, Permission::CommandsRead)?;
    let mut tx = app.store.read().await?;
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("command"))?;
    let changed_after = match resume.as_deref().map(parse_token) {
        None => (Timestamp(i64::MIN), ExecutionId(String::new())),
        Some(Some(at)) => at,
        Some(None) => return Err(Error::invalid("Last-Event-ID", "is not a position of this stream")),
    };
    Ok(Watch {
        app: app.clone(),
        id: id.clone(),
        wakes: Wakes::of(app),
        changed_after,
        chunks_after: 0,
        seen: HashMap::new(),
        waiting: VecDeque::new(),
        resumed: resume.is_some(),
        ended: false,
    })
}

fn parse_token(token: &str) -> Option<(Timestamp, ExecutionId)> {
    let (at, id) = token.split_once('.')?;
    Some((Timestamp(at.parse().ok()?), ExecutionId(id.to_owned())))
}

impl Watch {
    /// Where a later watch can go on; None while something that was already found has not been told.
    pub fn token(&self) -> Option<String> {
        self.waiting.is_empty().then(|| format!("{}.{}", self.changed_after.0.0, self.changed_after.1))
    }

    /// The next thing that happened; waits for it. None after the end.
    ///
    /// # Errors
    /// As the store.
    pub async fn next(&mut self) -> Result<Option<Progress>> {
        loop {
            if let Some(progress) = self.waiting.pop_front() {
                return Ok(Some(progress));
            }
            if self.ended {
                return Ok(None);
            }
            self.wakes.looking();
            self.look().await?;
            if self.waiting.is_empty() && !self.ended {
                self.wakes.wait().await;
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        let app = self.app.clone();
        let mut tx = app.store.read().await?;
        // In this order: once all executions exist the summary counts them all, and when it is final the rows read after
        // it are complete.
        let command = table::by_id(&mut tx, &self.id).await?;
        let found = table::summaries(&mut tx, std::slice::from_ref(&self.id)).await?;
        let summary = found.into_iter().next().map(|(_, s)| s).unwrap_or_default();
        let chunks = outputs::chunks_of_command(&mut tx, &self.id, self.chunks_after, PAGE).await?;
        let more_chunks = chunks.len() as i64 == PAGE;
        for (seq, node, chunk) in chunks {
            self.chunks_after = seq;
            self.chunk(node, chunk);
        }
        let (at, after) = (self.changed_after.0, self.changed_after.1.clone());
        let rows = execution::changed(&mut tx, &self.id, (at, &after), INLINE_BYTES, PAGE).await?;
        let mut more_rows = rows.len() as i64 == PAGE;
        for row in rows {
            // The outputs of a page of rows may be two hundred megabytes: the others are read once these are told.
            if self.waiting_bytes() > WAITING_BYTES {
                more_rows = true;
                break;
            }
            self.changed_after = (row.updated_at, row.id.clone());
            self.row(&mut tx, row).await?;
        }
        let fanned_out = command.is_none_or(|c| c.fanned_out);
        if fanned_out && summary.is_final() && !more_rows && !more_chunks {
            // Several servers may stamp changes out of order: then the rows are gone through once more.
            let ended = self.seen.values().filter(|s| s.status.is_final()).count() as i64;
            if !self.resumed && ended < summary.total {
                self.changed_after = (Timestamp(i64::MIN), ExecutionId(String::new()));
                self.resumed = true;
                return Ok(());
            }
            self.ended = true;
            self.waiting.push_back(Progress::End(summary));
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> usize {
        let text = |progress: &Progress| if let Progress::Output { text, .. } = progress { text.len() } else { 0 };
        self.waiting.iter().map(text).sum()
    }

    fn chunk(&mut self, node: Option<NodeId>, chunk: Chunk) {
        let seen = self.seen.entry(chunk.execution_id.clone()).or_insert(Seen {
            status: ExecutionStatus::Sent,
            started: true,
            offset: 0,
            node: None,
        });
        let end = chunk.start.saturating_add(chunk.text.len() as i64);
        // A gap is filled by the final output.
        if chunk.start <= seen.offset && end > seen.offset {
            let skip = at_boundary(&chunk.text, seen.offset - chunk.start);
            self.waiting.push_back(Progress::Output {
                execution_id: chunk.execution_id,
                // Output may be found before the row that tells of its execution.
                node_id: node,
                offset: chunk.start + skip as i64,
                next_offset: end,
                text: chunk.text[skip..].to_owned(),
            });
            seen.offset = end;
        }
    }

    async fn row(&mut self, tx: &mut Tx, mut row: Execution) -> Result<()> {
        let before = self.seen.get(&row.id);
        let mut offset = before.map_or(0, |s| s.offset);
        if before.is_some_and(|s| s.status.is_final() && s.status == row.status) {
            return Ok(());
        }
        let same =
            before.is_some_and(|s| s.status == row.status && s.started == row.started_at.is_some() && s.node.is_some());
        if row.status.is_final() {
            let whole = match row.output.take() {
                Some(output) => Some(output),
                None => outputs::final_output(tx, &row.id).await?,
            };
            if let Some(rest) = whole.as_deref().and_then(|w| rest_after(w, offset)) {
                let next_offset = offset + rest.len() as i64;
                let (execution_id, node_id) = (row.id.clone(), row.node_id.clone());
                let text = rest.to_owned();
                self.waiting.push_back(Progress::Output { execution_id, node_id, offset, next_offset, text });
                offset = next_offset;
            }
        }
        let seen = Seen { status: row.status, started: row.started_at.is_some(), offset, node: row.node_id.clone() };
        self.seen.insert(row.id.clone(), seen);
        if !same {
            self.waiting.push_back(Progress::Execution(Box::new(row)));
        }
        Ok(())
    }
}

/// A watch over one execution.
pub struct ExecutionWatch {
    app: Arc<App>,
    actor: Actor,
    id: ExecutionId,
    wakes: Wakes,
    offset: i64,
    waiting: VecDeque<Progress>,
    ended: bool,
}

/// Watches an execution from byte `offset` of its output on.
///
/// # Errors
/// NotFound.
pub async fn watch_execution(app: &Arc<App>, actor: &Actor, id: &ExecutionId, offset: i64) -> Result<ExecutionWatch> {
    crate::execution::get(app, actor, id).await?;
    Ok(ExecutionWatch {
        app: app.clone(),
        actor: actor.clone(),
        id: id.clone(),
        wakes: Wakes::of(app),
        offset,
        waiting: VecDeque::new(),
        ended: false,
    })
}

impl ExecutionWatch {
    /// The next piece; waits for it. The last one is [`Progress::Ended`], then None.
    ///
    /// # Errors
    /// NotFound when it was deleted meanwhile; otherwise as the store.
    pub async fn next(&mut self) -> Result<Option<Progress>> {
        loop {
            if let Some(progress) = self.waiting.pop_front() {
                return Ok(Some(progress));
            }
            if self.ended {
                return Ok(None);
            }
            self.wakes.looking();
            let execution = crate::execution::get(&self.app, &self.actor, &self.id).await?;
            let is_final = execution.status.is_final();
            let run = match (is_final, &execution.output) {
                (true, Some(whole)) => {
                    let text = rest_after(whole, self.offset).unwrap_or_default().to_owned();
                    let next_offset = self.offset.saturating_add(text.len() as i64);
                    Joined { offset: self.offset, text, next_offset }
                }
                _ => {
                    let mut tx = self.app.store.read().await?;
                    let chunks = outputs::chunks_after(&mut tx, &self.id, self.offset, PAGE).await?;
                    join(chunks, self.offset)
                }
            };
            if !run.text.is_empty() {
                let Joined { offset, text, next_offset } = run;
                let (execution_id, node_id) = (self.id.clone(), execution.node_id.clone());
                self.waiting.push_back(Progress::Output { execution_id, node_id, offset, next_offset, text });
                self.offset = next_offset;
            }
            if is_final {
                self.ended = true;
                self.waiting.push_back(Progress::Ended(Box::new(execution)));
            } else if self.waiting.is_empty() {
                self.wakes.wait().await;
            }
        }
    }
}

/// What wakes a watcher, and how often it may look.
struct Wakes {
    wakes: Receiver<u64>,
    /// The next look does not come before.
    not_before: Instant,
    /// Between the last look and the next.
    pause: Duration,
}

impl Wakes {
    fn of(app: &App) -> Self {
        Self { wakes: app.store.subscribe(Topic::Output), not_before: Instant::now(), pause: LIVELY }
    }

    /// Called before a look: what happens from here on wakes again.
    fn looking(&mut self) {
        self.wakes.borrow_and_update();
        let now = Instant::now();
        let is_calm = now > self.not_before + CALM;
        self.pause = if is_calm { LIVELY } else { (self.pause * 2).min(CALM) };
        self.not_before = now + self.pause;
    }

    /// Waits for a change. The first one is shown at once, those that follow closely are taken together.
    async fn wait(&mut self) {
        if let Ok(Ok(())) = tokio::time::timeout(LOOK_EVERY, self.wakes.changed()).await {
            tokio::time::sleep_until(self.not_before).await;
        }
    }
}

/// What of the final output comes after `offset` bytes of live output. An output that was cut has a line that tells how
/// many bytes are missing, so offsets behind it are counted from the end.
fn rest_after(whole: &str, offset: i64) -> Option<&str> {
    let offset_bytes = usize::try_from(offset).unwrap_or(0);
    let rest = match gap(whole) {
        Some((head, tail_start, omitted)) if offset_bytes > head => {
            let raw_tail_start = head.saturating_add(omitted);
            if offset_bytes <= raw_tail_start {
                &whole[head..]
            } else {
                let into_tail = i64::try_from(offset_bytes - raw_tail_start).unwrap_or(i64::MAX);
                let tail = &whole[tail_start..];
                &tail[at_boundary(tail, into_tail)..]
            }
        }
        Some(_) | None => &whole[at_boundary(whole, offset)..],
    };
    (!rest.is_empty()).then_some(rest)
}

/// Where the head ends, where the tail begins and how many bytes are missing in between.
fn gap(whole: &str) -> Option<(usize, usize, usize)> {
    const OPEN: &str = "...[truncated: ";
    const CLOSE: &str = " bytes omitted]...";
    if whole.len() <= KEPT {
        return None;
    }
    // The head is cut at a character, so the line is near byte KEPT, not at it.
    let from = at_boundary(whole, (KEPT - 8) as i64);
    let open = from + whole[from..].find(OPEN)?;
    let number = open + OPEN.len();
    let close = number + whole[number..].find(CLOSE)?;
    let omitted = whole[number..close].parse().ok()?;
    let tail = close + CLOSE.len();
    let tail = tail + usize::from(whole[tail..].starts_with('\n'));
    let head = if whole[..open].ends_with('\n') { open - 1 } else { open };
    Some((head, tail, omitted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_whole_output() {
        assert_eq!(rest_after("hello", 0), Some("hello"));
        assert_eq!(rest_after("hello", 3), Some("lo"));
        assert_eq!(rest_after("hello", 5), None);
    }

    #[test]
    fn the_rest_of_a_cut_output_is_counted_from_its_end() {
        let cut = format!("{}\n...[truncated: 1000 bytes omitted]...\n{}", "a".repeat(KEPT), "b".repeat(KEPT));
        let total = (KEPT * 2 + 1000) as i64;
        assert_eq!(rest_after(&cut, total), None);
        assert_eq!(rest_after(&cut, total - 10), Some("bbbbbbbbbb"));
        assert!(rest_after(&cut, KEPT as i64 + 5).unwrap().starts_with("\n...[truncated"));
    }
}
