//! The steps of an execution and the states between them.

use std::io;
use std::time::Duration;

use reeve_agent_proto::message::{ExecutionResult, Known, Progress, Run, Sync};
use tokio::sync::{oneshot, watch};

use crate::journal::Location;
use crate::record::{self, Fact, Record};
use crate::runner::{Outcome, Stop};

/// What others ask of the executor.
pub enum Command {
    /// Run it, unless it is known already.
    Run(Box<Run>),
    /// End it with exit code 143.
    Cancel(String),
    /// End it and forget it.
    Drop(String),
    /// Its result is safe.
    Acknowledged(String),
    /// The server's view after a reconnect.
    Sync(Sync),
    /// The session is open: results may be sent.
    Open,
    /// The connection is gone.
    Closed,
    /// Which executions are there?
    Known(oneshot::Sender<Vec<Known>>),
    /// Start nothing more; answer when nothing runs and every result is journalled.
    Stop {
        /// How long running commands may go on.
        grace: Duration,
        /// Told when done.
        done: oneshot::Sender<()>,
    },
}

/// What the journal and the runners tell the executor.
pub enum Happened {
    /// A step is durable, or could not be written.
    Journalled(Step, io::Result<Location>),
    /// A command ended.
    Ended(String, Outcome),
    /// A result was read back from the journal.
    Read(String, io::Result<Option<ExecutionResult>>),
}

/// A step that waits for the journal, with what is needed to go on or to try again.
pub enum Step {
    /// See [`Fact::Accepted`].
    Accepted(Box<Run>),
    /// See [`Fact::Started`].
    Started(Box<Run>),
    /// See [`Fact::Result`].
    Result(Box<ExecutionResult>),
    /// See [`Fact::Forgotten`].
    Forgotten(String),
    /// Nothing but a test whether there is space again.
    Probe,
}

impl Step {
    /// What the journal has to hold.
    pub fn record(&self) -> Record {
        match self {
            Self::Accepted(run) => Fact::Accepted((**run).clone()),
            Self::Started(run) => Fact::Started(record::Started { execution_id: run.execution_id.clone() }),
            Self::Result(result) => Fact::Result((**result).clone()),
            Self::Forgotten(id) => Fact::Forgotten(record::Forgotten { execution_id: id.clone() }),
            Self::Probe => Fact::Past(record::Past { execution_ids: Vec::new() }),
        }
        .into()
    }
}

/// What was asked of an execution while a step of it was under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Exit code 143.
    Cancel,
    /// No result at all.
    Forget,
}

/// Where an execution stands.
pub enum Entry {
    /// Being journalled.
    Accepting { wish: Option<Wish> },
    /// Waiting for its turn.
    Queued(Box<Run>),
    /// Its start is being journalled.
    Starting { wish: Option<Wish> },
    /// A process runs.
    Running { stop: watch::Sender<Option<Stop>>, forget: bool },
    /// The result is being journalled.
    Ending,
    /// The result is in the journal, or, when the journal has no space, in memory.
    Finished { held: Option<Box<ExecutionResult>>, journalled: bool },
}

/// How far an execution is; `None` when the journal does not hold it yet.
pub fn progress(entry: &Entry) -> Option<Progress> {
    match entry {
        Entry::Accepting { .. } => None,
        Entry::Queued(_) | Entry::Starting { .. } => Some(Progress::Accepted),
        Entry::Running { .. } | Entry::Ending => Some(Progress::Started),
        Entry::Finished { .. } => Some(Progress::Finished),
    }
}

/// Tells the executor, unless it has ended.
pub fn send(events: &tokio::sync::mpsc::UnboundedSender<Happened>, event: Happened) {
    events.send(event).ok();
}
