//! The journal: an append-only file that makes each execution happen at most once and each result survive.
//!
//! Synchronous and single-threaded; `journal_thread` drives it. A batch of records costs one `fdatasync`. When a
//! write fails the file is cut back to its last good record, so that the journal can go on once space is back.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reeve_agent_proto::message::{ExecutionResult, Run};

use crate::data_dir::{private_file, sync_dir};
use crate::record::{self, Fact, Past, Record, Spawned};

/// First bytes of the file.
const MAGIC: &[u8; 8] = b"reevejl1";
/// Executions remembered after they were forgotten.
const PAST: usize = 1024;
/// A file smaller than this is never compacted, in bytes.
const COMPACT_FLOOR: u64 = 256 * 1024;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    offset: u64,
    len: usize,
}

impl Location {
    /// Size on disk, in bytes.
    #[cfg(test)]
    pub fn len(self) -> usize {
        self.len
    }
}

/// An execution found in the journal at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The execution.
    pub execution_id: String,
    /// The command, as long as there is no result.
    pub run: Option<Run>,
    /// Its process may have existed.
    pub started: bool,
    /// Its process.
    pub spawned: Option<Spawned>,
    /// Its result.
    pub result: Option<Location>,
}

#[derive(Debug, Default)]
struct Live {
    order: u64,
    accepted: Option<Location>,
    started: Option<Location>,
    spawned: Option<Location>,
    result: Option<Location>,
}

impl Live {
    /// What a compaction has to keep: nothing but the result once there is one.
    fn needed(&self) -> impl Iterator<Item = Location> {
        let keep = match self.result {
            Some(result) => [Some(result), None, None],
            None => [self.accepted, self.started, self.spawned],
        };
        keep.into_iter().flatten()
    }

    fn bytes(&self) -> u64 {
        self.needed().map(|l| l.len as u64).sum()
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
    limit: u64,
    records: u64,
    live: HashMap<String, Live>,
    past: VecDeque<String>,
}

impl Journal {
    /// Opens or creates the journal and reads what it holds. A torn or damaged end is cut off. Past `limit` bytes new
    /// commands are refused; results are still written.
    pub fn open(path: &Path, limit: u64) -> io::Result<(Self, Vec<Recovered>)> {
        let file = private_file(path, false)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            len: 0,
            limit,
            records: 0,
            live: HashMap::new(),
            past: VecDeque::new(),
        };
        let content = std::fs::read(path)?;
        if content.len() < MAGIC.len() {
            journal.start_over()?;
            return Ok((journal, Vec::new()));
        }
        if &content[..MAGIC.len()] != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a journal of this agent"));
        }
        journal.len = MAGIC.len() as u64;
        let mut recovered: HashMap<String, Recovered> = HashMap::new();
        while let Some((record, len)) = record::decode(&content[to_usize(journal.len)..]) {
            let location = Location { offset: journal.len, len };
            recover(&mut recovered, &record, location);
            journal.note(&record, location);
            journal.len += len as u64;
        }
        let torn = content.len() as u64 - journal.len;
        if torn > 0 {
            tracing::warn!(bytes = torn, "the journal ends in an unfinished record, which is cut off");
            journal.file.set_len(journal.len)?;
            journal.file.sync_data()?;
        }
        let mut recovered: Vec<Recovered> = recovered.into_values().collect();
        recovered.sort_by_key(|r| journal.live.get(&r.execution_id).map_or(u64::MAX, |live| live.order));
        Ok((journal, recovered))
    }

    /// Appends records durably. Either all are written or none.
    pub fn append(&mut self, records: &[Record]) -> io::Result<Vec<Location>> {
        let mut bytes = Vec::new();
        let mut locations = Vec::with_capacity(records.len());
        for record in records {
            let offset = self.len + bytes.len() as u64;
            let len = record::encode(record, &mut bytes);
            locations.push(Location { offset, len });
        }
        let takes_work = records.iter().any(|r| matches!(r.fact, Some(Fact::Accepted(_))));
        if takes_work && self.len + bytes.len() as u64 > self.limit {
            self.compact()?;
            if self.len + bytes.len() as u64 > self.limit {
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the journal has reached its size limit"));
            }
            return self.append_unlimited(records);
        }
        self.write(&bytes)?;
        for (record, location) in records.iter().zip(&locations) {
            self.note(record, *location);
        }
        self.len += bytes.len() as u64;
        if self.len > COMPACT_FLOOR && self.live_bytes() < self.len / 2 {
            // The records are safe already: a compaction that fails for want of space is tried again later.
            if let Err(error) = self.compact() {
                tracing::warn!(%error, "could not compact the journal");
                return Ok(locations);
            }
            return Ok(self.relocated(records, locations));
        }
        Ok(locations)
    }

    /// Reads a result back.
    pub fn read_result(&self, execution_id: &str) -> io::Result<Option<ExecutionResult>> {
        let Some(location) = self.live.get(execution_id).and_then(|live| live.result) else {
            return Ok(None);
        };
        match self.read(location)?.fact {
            Some(Fact::Result(result)) => Ok(Some(result)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the journal holds another record than expected")),
        }
    }

    /// Executions that were forgotten lately.
    pub fn past(&self) -> impl Iterator<Item = &String> {
        self.past.iter()
    }

    /// Records seen since the file was made.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Size of the file, in bytes.
    #[cfg(test)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Rewrites the file with what is still needed.
    pub fn compact(&mut self) -> io::Result<()> {
        if self.live.is_empty() && self.past.is_empty() {
            return self.start_over();
        }
        let next_path = self.path.with_extension("new");
        let outcome = self.compact_into(&next_path);
        if outcome.is_err() && std::fs::remove_file(&next_path).is_err() {
            tracing::debug!("no leftover of the failed compaction to remove");
        }
        outcome
    }

    fn compact_into(&mut self, next_path: &Path) -> io::Result<()> {
        let next = private_file(next_path, true)?;
        next.write_all_at(MAGIC, 0)?;
        let mut at = MAGIC.len() as u64;
        let mut header = Vec::new();
        let past = Past { execution_ids: self.past.iter().cloned().collect() };
        record::encode(&Fact::Past(past).into(), &mut header);
        next.write_all_at(&header, at)?;
        at += header.len() as u64;
        let mut order: Vec<(&String, &Live)> = self.live.iter().collect();
        order.sort_by_key(|(_, live)| live.order);
        let mut moved: HashMap<u64, Location> = HashMap::new();
        for (_, live) in order {
            for location in live.needed() {
                let mut bytes = vec![0; location.len];
                self.file.read_exact_at(&mut bytes, location.offset)?;
                next.write_all_at(&bytes, at)?;
                moved.insert(location.offset, Location { offset: at, len: location.len });
                at += location.len as u64;
            }
        }
        next.sync_all()?;
        std::fs::rename(next_path, &self.path)?;
        self.file = next;
        self.len = at;
        for live in self.live.values_mut() {
            for slot in [&mut live.accepted, &mut live.started, &mut live.spawned, &mut live.result] {
                *slot = slot.and_then(|location| moved.get(&location.offset).copied());
            }
        }
        match self.path.parent() {
            Some(dir) => sync_dir(dir),
            None => Ok(()),
        }
    }

    fn append_unlimited(&mut self, records: &[Record]) -> io::Result<Vec<Location>> {
        let limit = std::mem::replace(&mut self.limit, u64::MAX);
        let outcome = self.append(records);
        self.limit = limit;
        outcome
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let attempt =
            |journal: &Self| journal.file.write_all_at(bytes, journal.len).and_then(|()| journal.file.sync_data());
        let Err(error) = attempt(self) else {
            return Ok(());
        };
        // A half written record must not stay in front of later ones.
        self.file.set_len(self.len)?;
        let dead = self.len.saturating_sub(self.live_bytes());
        if is_full(&error) && dead > 4096 {
            self.compact()?;
            let retried = attempt(self);
            if retried.is_err() {
                self.file.set_len(self.len)?;
            }
            return retried;
        }
        Err(error)
    }

    fn relocated(&self, records: &[Record], old: Vec<Location>) -> Vec<Location> {
        let current = |(record, old): (&Record, Location)| match &record.fact {
            Some(Fact::Result(result)) => {
                self.live.get(&result.execution_id).and_then(|live| live.result).unwrap_or(old)
            }
            _ => old,
        };
        records.iter().zip(old).map(current).collect()
    }

    fn read(&self, location: Location) -> io::Result<Record> {
        let mut bytes = vec![0; location.len];
        self.file.read_exact_at(&mut bytes, location.offset)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a journal record is damaged");
        record::decode(&bytes).map(|(record, _)| record).ok_or_else(damaged)
    }

    fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(MAGIC, 0)?;
        self.file.sync_all()?;
        self.len = MAGIC.len() as u64;
        match self.path.parent() {
            Some(dir) => sync_dir(dir),
            None => Ok(()),
        }
    }

    fn live_bytes(&self) -> u64 {
        self.live.values().map(Live::bytes).sum()
    }

    fn note(&mut self, record: &Record, location: Location) {
        self.records += 1;
        let order = self.records;
        fn live<'a>(live: &'a mut HashMap<String, Live>, id: &str, order: u64) -> &'a mut Live {
            live.entry(id.to_owned()).or_insert_with(|| Live { order, ..Live::default() })
        }
        let all = &mut self.live;
        match &record.fact {
            Some(Fact::Accepted(run)) => live(all, &run.execution_id, order).accepted = Some(location),
            Some(Fact::Started(started)) => live(all, &started.execution_id, order).started = Some(location),
            Some(Fact::Spawned(spawned)) => live(all, &spawned.execution_id, order).spawned = Some(location),
            Some(Fact::Result(result)) => live(all, &result.execution_id, order).result = Some(location),
            Some(Fact::Forgotten(forgotten)) => {
                self.live.remove(&forgotten.execution_id);
                self.remember(forgotten.execution_id.clone());
            }
            Some(Fact::Past(past)) => past.execution_ids.iter().for_each(|id| self.remember(id.clone())),
            None => {}
        }
    }

    fn remember(&mut self, execution_id: String) {
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(execution_id);
    }
}

/// Whether a write failed because there is no space.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

fn recover(recovered: &mut HashMap<String, Recovered>, record: &Record, location: Location) {
    fn entry<'a>(recovered: &'a mut HashMap<String, Recovered>, id: &str) -> &'a mut Recovered {
        recovered.entry(id.to_owned()).or_insert_with(|| Recovered {
            execution_id: id.to_owned(),
            run: None,
            started: false,
            spawned: None,
            result: None,
        })
    }
    match &record.fact {
        Some(Fact::Accepted(run)) => entry(recovered, &run.execution_id).run = Some(run.clone()),
        Some(Fact::Started(started)) => entry(recovered, &started.execution_id).started = true,
        Some(Fact::Spawned(spawned)) => entry(recovered, &spawned.execution_id).spawned = Some(spawned.clone()),
        Some(Fact::Result(result)) => {
            let entry = entry(recovered, &result.execution_id);
            entry.result = Some(location);
            entry.run = None;
        }
        Some(Fact::Forgotten(forgotten)) => {
            recovered.remove(&forgotten.execution_id);
        }
        Some(Fact::Past(_)) | None => {}
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Forgotten, Started};

    fn accepted(id: &str) -> Record {
        Fact::Accepted(Run { execution_id: id.into(), command_text: "true".into(), ..Run::default() }).into()
    }

    fn started(id: &str) -> Record {
        Fact::Started(Started { execution_id: id.into() }).into()
    }

    fn result(id: &str, output: &str) -> Record {
        let output = output.to_owned();
        Fact::Result(ExecutionResult { execution_id: id.into(), output, ..ExecutionResult::default() }).into()
    }

    fn forgotten(id: &str) -> Record {
        Fact::Forgotten(Forgotten { execution_id: id.into() }).into()
    }

    fn open(path: &Path) -> (Journal, Vec<Recovered>) {
        Journal::open(path, u64::MAX).unwrap()
    }

    #[test]
    fn states_survive_a_restart_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, found) = open(&path);
        assert!(found.is_empty());
        journal.append(&[accepted("a"), accepted("b"), accepted("c"), accepted("d")]).unwrap();
        journal.append(&[started("a"), started("b"), result("a", "out")]).unwrap();
        journal.append(&[forgotten("d")]).unwrap();
        drop(journal);
        let (journal, found) = open(&path);
        let ids: Vec<&str> = found.iter().map(|r| r.execution_id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert!(found[0].result.is_some() && found[0].run.is_none());
        assert!(found[1].started && found[1].run.is_some());
        assert!(!found[2].started);
        assert_eq!(journal.read_result("a").unwrap().unwrap().output, "out");
        assert_eq!(journal.read_result("b").unwrap(), None);
        assert_eq!(journal.past().collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn a_file_cut_anywhere_yields_a_prefix_and_can_be_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path);
        for id in ["a", "b", "c"] {
            journal.append(&[accepted(id)]).unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            for garbage in [&b""[..], b"\xff\xff\xff\xff garbage"] {
                std::fs::write(&path, [&whole[..cut.max(MAGIC.len())], garbage].concat()).unwrap();
                let (mut journal, before) = open(&path);
                assert!(before.len() <= 3);
                journal.append(&[accepted("z")]).unwrap();
                drop(journal);
                let (_, after) = open(&path);
                assert_eq!(after.len(), before.len() + 1, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path);
        journal.append(&[accepted("a")]).unwrap();
        drop(journal);
        let mut content = std::fs::read(&path).unwrap();
        let last = content.len() - 1;
        content[last] ^= 1;
        std::fs::write(&path, &content).unwrap();
        assert!(open(&path).1.is_empty());
    }

    #[test]
    fn compaction_keeps_what_is_needed_and_the_file_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path);
        journal.append(&[accepted("keep"), started("keep")]).unwrap();
        let output = "x".repeat(20_000);
        for i in 0..100 {
            let id = format!("e{i}");
            journal.append(&[accepted(&id), started(&id)]).unwrap();
            let locations = journal.append(&[result(&id, &output)]).unwrap();
            assert!(locations[0].len() > 20_000);
            assert_eq!(journal.read_result(&id).unwrap().unwrap().output, output);
            journal.append(&[forgotten(&id)]).unwrap();
            assert!(journal.len() < 2 * COMPACT_FLOOR, "{}", journal.len());
        }
        journal.append(&[result("late", "l")]).unwrap();
        journal.compact().unwrap();
        drop(journal);
        let (journal, found) = open(&path);
        assert_eq!(found.iter().map(|r| r.execution_id.as_str()).collect::<Vec<_>>(), ["keep", "late"]);
        assert!(found[0].started);
        assert_eq!(journal.past().count(), 100);
        assert!(journal.len() < 8_000);
    }

    #[test]
    fn at_the_limit_work_is_refused_and_results_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path, 2_000).unwrap();
        journal.append(&[accepted("a")]).unwrap();
        journal.append(&[result("a", &"x".repeat(3_000))]).unwrap();
        let error = journal.append(&[accepted("b")]).unwrap_err();
        assert!(is_full(&error), "{error}");
        journal.append(&[forgotten("a")]).unwrap();
        journal.append(&[accepted("b")]).unwrap();
        drop(journal);
        assert_eq!(open(&path).1.len(), 1);
    }

    #[test]
    fn a_file_of_something_else_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, b"precious data").unwrap();
        assert!(Journal::open(&path, u64::MAX).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious data");
    }
}
