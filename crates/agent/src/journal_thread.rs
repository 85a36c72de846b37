//! One thread owns the journal; whatever was asked for while it synced shares the next sync.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use reeve_agent_proto::message::ExecutionResult;

use crate::journal::{Journal, Location};
use crate::record::Record;

/// Most records that share one sync.
const BATCH: usize = 256;

type Appended = Box<dyn FnOnce(io::Result<Location>) + Send>;
type Read = Box<dyn FnOnce(io::Result<Option<ExecutionResult>>) + Send>;

enum Request {
    Append(Record, Appended),
    Read(String, Read),
}

/// Access to the journal's thread; the thread ends with the last handle.
#[derive(Clone)]
pub struct JournalHandle {
    requests: mpsc::Sender<Request>,
}

impl JournalHandle {
    /// Starts the thread.
    pub fn start(journal: Journal) -> io::Result<(Self, JoinHandle<()>)> {
        let (requests, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .stack_size(256 * 1024)
            .spawn(move || serve(journal, &inbox))?;
        Ok((Self { requests }, thread))
    }

    /// Appends a record; `done` is called on the journal's thread once it is durable or has failed.
    pub fn append(&self, record: Record, done: impl FnOnce(io::Result<Location>) + Send + 'static) {
        if let Err(mpsc::SendError(Request::Append(_, done))) =
            self.requests.send(Request::Append(record, Box::new(done)))
        {
            done(Err(io::Error::other("the journal's thread has ended")));
        }
    }

    /// Reads a result back.
    pub fn read(&self, execution_id: String, done: impl FnOnce(io::Result<Option<ExecutionResult>>) + Send + 'static) {
        if let Err(mpsc::SendError(Request::Read(_, done))) =
            self.requests.send(Request::Read(execution_id, Box::new(done)))
        {
            done(Err(io::Error::other("the journal's thread has ended")));
        }
    }
}

fn serve(mut journal: Journal, inbox: &mpsc::Receiver<Request>) {
    let mut records = Vec::new();
    let mut waiting = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append(record, done) => {
                    records.push(record);
                    waiting.push(done);
                }
                Request::Read(execution_id, done) => {
                    flush(&mut journal, &mut records, &mut waiting);
                    done(journal.read_result(&execution_id));
                }
            }
            next = if records.len() < BATCH { inbox.try_recv().ok() } else { None };
        }
        flush(&mut journal, &mut records, &mut waiting);
    }
}

fn flush(journal: &mut Journal, records: &mut Vec<Record>, waiting: &mut Vec<Appended>) {
    if records.is_empty() {
        return;
    }
    match journal.append(records) {
        Ok(locations) => waiting.drain(..).zip(locations).for_each(|(done, location)| done(Ok(location))),
        // One record too large must not fail its neighbours: each alone.
        Err(_) if records.len() > 1 => {
            for (record, done) in records.iter().zip(waiting.drain(..)) {
                done(journal.append(std::slice::from_ref(record)).map(|locations| locations[0]));
            }
        }
        Err(error) => waiting.drain(..).for_each(|done| done(Err(io::Error::new(error.kind(), error.to_string())))),
    }
    records.clear();
    records.shrink_to(BATCH);
}
