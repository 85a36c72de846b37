//! What jobs print: buffered, coalesced, bounded, and readable from any byte offset while it grows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_store::Tx;
use reeve_store::job_output::{self as table, Chunk};
use reeve_types::{JobId, Result, Timestamp};
use tokio::sync::Notify;

/// Bytes kept from the beginning of an output.
pub const HEAD_BYTES: i64 = 512 * 1024;
/// Bytes kept from its end.
pub const TAIL_BYTES: i64 = 512 * 1024;
/// Bytes of one stored chunk at the most.
const CHUNK_BYTES: usize = 32 * 1024;

/// Where a body prints to. Cheap to clone; order is the order of calls.
#[derive(Clone)]
pub struct Printer {
    buffer: Arc<Mutex<Buffer>>,
    dirty: Arc<Notify>,
}

/// Done, and in all where that is known.
pub(crate) type Said = (i64, Option<i64>);

/// Where a plain body says how far it has got. Cheap to clone; what is said last counts.
#[derive(Clone)]
pub struct Meter {
    said: Arc<Mutex<Option<Said>>>,
    dirty: Arc<Notify>,
}

impl Meter {
    pub(crate) fn new(dirty: Arc<Notify>) -> Self {
        Self { said: Arc::default(), dirty }
    }

    /// `done` of `total`, where that is known. Stored within a fraction of a second, or with the end of the job.
    pub fn set(&self, done: u64, total: Option<u64>) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some((whole(done), total.map(whole)));
        self.dirty.notify_one();
    }

    /// What was said and not stored yet.
    pub(crate) fn unstored(&self) -> Option<Said> {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stored(&self, what: Said) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said == Some(what) {
            *said = None;
        }
    }
}

#[derive(Default)]
struct Buffer {
    /// Offset in the stored output of this run's first byte; None until the first write.
    base: Option<i64>,
    /// Bytes printed in this run.
    total: i64,
    /// Not stored yet, by offset in this run.
    pieces: VecDeque<(i64, String)>,
    bytes: i64,
}

impl Printer {
    pub(crate) fn new(dirty: Arc<Notify>) -> Self {
        Self { buffer: Arc::default(), dirty }
    }

    /// Appends text. It is stored within a fraction of a second, or with the end of the job.
    pub fn append(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.lock().append(text);
        self.dirty.notify_one();
    }

    /// Appends a line.
    pub fn line(&self, text: &str) {
        self.append(&format!("{text}\n"));
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.lock().pieces.is_empty()
    }

    /// Stores what is buffered. Call [`stored`](Self::stored) with the result once `tx` is committed.
    pub(crate) async fn store(&self, tx: &mut Tx, id: &JobId, now: Timestamp) -> Result<Stored> {
        let (base, pieces) = {
            let buffer = self.lock();
            (buffer.base, buffer.pieces.iter().cloned().collect::<Vec<_>>())
        };
        let base = match base {
            Some(base) => base,
            None => table::end(tx, id).await?,
        };
        let up_to = pieces.last().map_or(0, |(start, text)| start + text.len() as i64);
        let chunks: Vec<Chunk> = pieces.into_iter().map(|(start, text)| Chunk { start: base + start, text }).collect();
        table::append(tx, id, now, &chunks).await?;
        let end = base + up_to;
        if end > HEAD_BYTES + TAIL_BYTES {
            table::drop_between(tx, id, HEAD_BYTES, end - TAIL_BYTES - CHUNK_BYTES as i64).await?;
        }
        Ok(Stored { base, up_to })
    }

    pub(crate) fn stored(&self, stored: &Stored) {
        let mut buffer = self.lock();
        buffer.base = Some(stored.base);
        while let Some((start, text)) = buffer.pieces.pop_front() {
            let end = start + text.len() as i64;
            if end <= stored.up_to {
                buffer.bytes -= text.len() as i64;
                continue;
            }
            // The last piece grew while it was being stored.
            let known = usize::try_from(stored.up_to - start).unwrap_or(0);
            let rest = text[known..].to_owned();
            buffer.bytes -= known as i64;
            buffer.pieces.push_front((start + known as i64, rest));
            break;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one write has stored.
pub(crate) struct Stored {
    base: i64,
    up_to: i64,
}

impl Buffer {
    fn append(&mut self, text: &str) {
        // Neither database's text holds NUL; it is shown as its picture.
        let clean = text.replace('\0', "\u{2400}");
        let mut rest = clean.as_str();
        while !rest.is_empty() {
            let room = match self.pieces.back() {
                Some((_, last)) if last.len() < CHUNK_BYTES => CHUNK_BYTES - last.len(),
                _ => 0,
            };
            let cut = floor_boundary(rest, room);
            if cut == 0 {
                self.pieces.push_back((self.total, String::new()));
                let cut = floor_boundary(rest, CHUNK_BYTES);
                self.push(&rest[..cut]);
                rest = &rest[cut..];
            } else {
                self.push(&rest[..cut]);
                rest = &rest[cut..];
            }
        }
        self.trim();
    }

    fn push(&mut self, text: &str) {
        if let Some((_, last)) = self.pieces.back_mut() {
            last.push_str(text);
        }
        self.total += text.len() as i64;
        self.bytes += text.len() as i64;
    }

    /// Memory stays bounded when a body prints faster than the database stores.
    fn trim(&mut self) {
        if self.bytes <= HEAD_BYTES + TAIL_BYTES + 4 * CHUNK_BYTES as i64 {
            return;
        }
        let total = self.total;
        self.pieces.retain(|(start, text)| *start < HEAD_BYTES || start + text.len() as i64 > total - TAIL_BYTES);
        self.bytes = self.pieces.iter().map(|(_, text)| text.len() as i64).sum();
    }
}

fn floor_boundary(text: &str, most: usize) -> usize {
    let mut cut = most.min(text.len());
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    cut
}

/// A stretch of a job's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPage {
    /// The text; a dropped middle is one line `...[truncated: N bytes omitted]...`.
    pub text: String,
    /// Where to read on: a byte offset in everything that was printed.
    pub next_offset: i64,
}

/// Reads about `most` bytes of a job's output from a byte offset on. Empty text says that there is no more yet.
///
/// # Errors
/// As the store.
pub async fn read_output(tx: &mut Tx, id: &JobId, from_offset: i64, most: usize) -> Result<OutputPage> {
    let mut page = OutputPage { text: String::new(), next_offset: from_offset.max(0) };
    let rows = (most / CHUNK_BYTES + 2).clamp(16, 256) as i64;
    loop {
        let chunks = table::chunks_after(tx, id, page.next_offset, rows).await?;
        let before = page.next_offset;
        for chunk in &chunks {
            if !take(&mut page, chunk, most) {
                return Ok(page);
            }
        }
        if page.next_offset == before {
            return Ok(page);
        }
    }
}

/// Adds what of `chunk` lies past the page. False when the page is full.
fn take(page: &mut OutputPage, chunk: &Chunk, most: usize) -> bool {
    let end = chunk.start + chunk.text.len() as i64;
    if end <= page.next_offset {
        return true;
    }
    if chunk.start > page.next_offset {
        let omitted = chunk.start - page.next_offset;
        let line_break = if page.text.is_empty() || page.text.ends_with('\n') { "" } else { "\n" };
        page.text.push_str(&format!("{line_break}...[truncated: {omitted} bytes omitted]...\n"));
        page.next_offset = chunk.start;
    }
    let mut skip = usize::try_from(page.next_offset - chunk.start).unwrap_or(0);
    while !chunk.text.is_char_boundary(skip) {
        skip += 1;
    }
    let rest = &chunk.text[skip..];
    let room = most.saturating_sub(page.text.len());
    let mut cut = floor_boundary(rest, room);
    if cut == 0 && page.text.is_empty() {
        // A single character wider than the page still goes out, or a reader would stand still.
        cut = rest.chars().next().map_or(0, char::len_utf8);
    }
    page.text.push_str(&rest[..cut]);
    page.next_offset = chunk.start + (skip + cut) as i64;
    cut == rest.len()
}
