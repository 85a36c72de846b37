//! How far a saga has got: a plain value with one way to move, stored after every step.

use reeve_types::job::{Job, JobState};
use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a saga's `jobs.progress` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The saga's own state.
    pub state: Value,
    /// Forward: steps done. Unwinding: steps still to undo.
    pub at: usize,
    /// The start (`jobs.attempts`) that first came to where it is; counts tries.
    pub since: i64,
    /// How far the step it stands before has said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u64>,
    /// Set while it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwinding: Option<Unwinding>,
}

/// Why a saga goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unwinding {
    /// Somebody asked for it; else a step failed.
    pub cancelled: bool,
    /// The step that failed, with its error, safe to show.
    pub error: Option<String>,
    /// What could not be undone, the first of them being where it stuck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftover: Vec<String>,
    /// Begin anew once everything is undone.
    #[serde(default)]
    pub again: bool,
}

/// What a saga does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Run this step.
    Run(usize),
    /// Undo this step.
    Undo(usize),
    /// Start from the first step, with the first state.
    Restart,
    /// Everything is done.
    Succeeded,
    /// Everything is undone.
    Undone,
}

impl Progress {
    pub fn start(state: Value, attempt: i64) -> Self {
        Self { state, at: 0, since: attempt, mark: None, unwinding: None }
    }

    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(Error::internal)
    }

    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    pub fn next(&self, steps: usize) -> Move {
        match &self.unwinding {
            None if self.at < steps => Move::Run(self.at),
            None => Move::Succeeded,
            Some(_) if self.at > 0 => Move::Undo((self.at - 1).min(steps.saturating_sub(1))),
            Some(unwinding) if unwinding.again => Move::Restart,
            Some(_) => Move::Undone,
        }
    }

    /// The step [`next`](Self::next) named has been run or undone.
    pub fn done(&mut self, state: Value, attempt: i64) {
        self.state = state;
        self.at = if self.unwinding.is_some() { self.at - 1 } else { self.at + 1 };
        self.since = attempt;
        self.mark = None;
    }

    /// The step it stands before is further than ever. False when it was as far already: going there again is no progress,
    /// or what takes the server down behind it would be tried for ever.
    pub fn got_on(&mut self, mark: u64, attempt: i64) -> bool {
        let further = self.mark.is_none_or(|before| before < mark);
        if further {
            self.mark = Some(mark);
            self.since = attempt;
        }
        further
    }

    /// Turns round. `begun` says that the step it stands before may have had effects.
    pub fn unwind(&mut self, state: Value, begun: bool, cancelled: bool, error: Option<String>, attempt: i64) {
        self.state = state;
        self.at += usize::from(begun);
        self.since = attempt;
        self.mark = None;
        self.unwinding = Some(Unwinding { cancelled, error, leftover: Vec::new(), again: false });
    }

    /// What a retry begins with; None for the very beginning.
    pub fn again(mut self) -> Option<Self> {
        self.since = 1;
        self.mark = None;
        match &mut self.unwinding {
            Some(_) if self.at == 0 => return None,
            Some(unwinding) => {
                unwinding.again = true;
                unwinding.leftover.clear();
            }
            None => {}
        }
        Some(self)
    }
}

/// How a saga's step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Begun, or about to be.
    Current,
    /// Done and recorded.
    Done,
    /// Being undone, or about to be.
    Undoing,
    /// Its effects are taken back, or it had none.
    Undone,
    /// Its effects could not be taken back.
    LeftOver,
}

impl StepState {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Current => "current",
            Self::Done => "done",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::LeftOver => "left_over",
        }
    }
}

/// A step as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: StepState,
}

/// How the steps called `names` of `job` stand.
pub fn steps(job: &Job, names: &[&str]) -> Vec<StepView> {
    let progress = job.progress.as_deref().and_then(|text| Progress::parse(text).ok());
    let (at, unwinding) = progress.map_or((0, None), |p| (p.at, p.unwinding));
    let state = |index: usize| match (&unwinding, job.state) {
        (_, JobState::Succeeded) => StepState::Done,
        (Some(u), _) if u.leftover.iter().any(|left| names.get(index) == Some(&left.as_str())) => StepState::LeftOver,
        (Some(_), JobState::Failed | JobState::Cancelled) => StepState::Undone,
        (Some(_), JobState::Queued | JobState::Running) if index + 1 == at => StepState::Undoing,
        (Some(_), JobState::Queued | JobState::Running) if index < at => StepState::Done,
        (Some(_), JobState::Queued | JobState::Running) => StepState::Undone,
        (None, _) if index < at => StepState::Done,
        (None, JobState::Running) if index == at => StepState::Current,
        (None, _) => StepState::Waiting,
    };
    names.iter().enumerate().map(|(index, name)| StepView { name: (*name).to_owned(), state: state(index) }).collect()
}

/// What a failed saga could not undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Names of the steps whose effects remain, the one that stuck first.
    pub steps: Vec<String>,
}

/// Reads from a job's `progress` what its saga could not undo; None when nothing is left over.
pub fn leftover(progress: Option<&str>) -> Option<Leftover> {
    let unwinding = Progress::parse(progress?).ok()?.unwinding?;
    (!unwinding.leftover.is_empty()).then_some(Leftover { steps: unwinding.leftover })
}

/// Why a saga turned round, as its job's `progress` says; None while it goes forward. `Some(None)` is a cancel.
pub fn turned(progress: Option<&str>) -> Option<Option<String>> {
    let unwinding = Progress::parse(progress?).ok()?.unwinding?;
    Some(if unwinding.cancelled { None } else { Some(unwinding.error.unwrap_or_default()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::{JobId, Timestamp};

    fn job(state: JobState, progress: Option<&str>) -> Job {
        Job {
            id: JobId("j".into()),
            kind: "k".into(),
            payload: "null".into(),
            subject: String::new(),
            unique_key: None,
            state,
            progress: progress.map(str::to_owned),
            done: None,
            total: None,
            attempts: 1,
            run_at: Timestamp(0),
            cancel_requested: false,
            error: None,
            requested_by: "test".into(),
            inserted_at: Timestamp(0),
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn steps_stand_as_the_saga_does() {
        let back = |at: usize, more: &str| {
            format!(r#"{{"state":0,"at":{at},"since":1,"unwinding":{{"cancelled":false,"error":"no"{more}}}}}"#)
        };
        let ahead = |at: usize| format!(r#"{{"state":0,"at":{at},"since":1}}"#);
        for (state, progress, shown) in [
            (JobState::Queued, None, "waiting waiting waiting"),
            (JobState::Running, None, "current waiting waiting"),
            (JobState::Running, Some(ahead(1)), "done current waiting"),
            (JobState::Queued, Some(ahead(1)), "done waiting waiting"),
            (JobState::Succeeded, Some(ahead(3)), "done done done"),
            (JobState::Running, Some(back(2, "")), "done undoing undone"),
            (JobState::Failed, Some(back(0, "")), "undone undone undone"),
            (JobState::Cancelled, Some(back(0, "")), "undone undone undone"),
            (JobState::Failed, Some(back(2, r#","leftover":["b","a"]"#)), "left_over left_over undone"),
        ] {
            let steps = steps(&job(state, progress.as_deref()), &["a", "b", "c"]);
            let words: Vec<&str> = steps.iter().map(|step| step.state.word()).collect();
            assert_eq!(words.join(" "), shown, "{state:?} {progress:?}");
        }
    }
}
