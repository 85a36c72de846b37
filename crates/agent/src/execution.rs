//! The steps of an execution and the states between them.

use std::io;

use reeve_agent_proto::message::{ExecutionResult, Progress, Run};
use tokio::sync::watch;

use crate::journal::Location;
use crate::record::{self, Fact, Record};
use crate::runner::{Outcome, Stop};

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
