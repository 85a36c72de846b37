//! Planned accidents for sagas, for the fault tests of `testkit`. Without a plan nothing here does anything.

use std::sync::Arc;

use reeve_types::Error;

/// A moment in the life of a saga's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// Before the step's effect.
    BeforeRun,
    /// After the effect, before it is recorded.
    AfterRun,
    /// After it is recorded.
    Recorded,
    /// Before the undo's effect.
    BeforeUndo,
    /// After the undo's effect, before it is recorded.
    AfterUndo,
    /// After the undo is recorded.
    UndoRecorded,
}

impl Point {
    /// Every moment.
    pub const ALL: [Point; 6] =
        [Self::BeforeRun, Self::AfterRun, Self::Recorded, Self::BeforeUndo, Self::AfterUndo, Self::UndoRecorded];
}

/// What happens at a moment.
#[derive(Debug)]
pub enum Accident {
    /// The step or undo fails with this. Has no effect once it is recorded.
    Fail(Error),
    /// The server is gone: nothing more is written, the lease stays until it passes.
    Crash,
    /// Somebody asks to stop. Seen before the next step.
    Cancel,
}

/// Decides at every moment: (moment, index of the step).
pub type Faults = Arc<dyn Fn(Point, usize) -> Option<Accident> + Send + Sync>;
