//! Rollouts: a command sent out in batches that stops by itself when too much fails.

use crate::node::words;

words! {
    /// Where a rollout stands.
    RolloutState {
        /// Batches go out.
        Running = "running",
        /// Held by a person; what is out goes on.
        Paused = "paused",
        /// Every batch is done.
        Completed = "completed",
        /// Held by itself: more failures than allowed. Resumable.
        Stopped = "stopped",
        /// Given up by a person: what was not out is cancelled.
        Aborted = "aborted",
    }
}

/// Something that happens to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutEvent {
    /// A person holds it.
    Pause,
    /// A person lets it go on.
    Resume,
    /// A person gives it up.
    Abort,
    /// Failures passed the allowed number.
    TooManyFailures,
    /// The last batch ended.
    LastBatchDone,
}

impl RolloutState {
    /// The state after `event`.
    ///
    /// # Errors
    /// Conflict when the event makes no sense in this state.
    pub fn advance(self, event: RolloutEvent) -> crate::Result<Self> {
        use RolloutEvent as E;
        use RolloutState as S;
        Ok(match (self, event) {
            (S::Running, E::Pause) => S::Paused,
            (S::Paused | S::Stopped, E::Resume) => S::Running,
            (S::Running | S::Paused | S::Stopped, E::Abort) => S::Aborted,
            (S::Running, E::TooManyFailures) => S::Stopped,
            (S::Running, E::LastBatchDone) => S::Completed,
            (S::Paused | S::Completed | S::Stopped | S::Aborted, E::TooManyFailures | E::LastBatchDone) => self,
            (state, E::Pause | E::Resume | E::Abort) => {
                let verb = match event {
                    E::Pause => "pause",
                    E::Resume => "resume",
                    _ => "abort",
                };
                return Err(crate::Error::conflict(format!("cannot {verb} a rollout that is {}", state.word())));
            }
        })
    }
}

/// Nodes per batch after the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// A number of nodes, at least 1.
    Nodes(i64),
    /// A share of all targeted nodes, 1..=100.
    Percent(i64),
}

impl BatchSize {
    /// Reads `10` or `10%`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(share) => share.trim().parse().ok().filter(|p| (1..=100).contains(p)).map(Self::Percent),
            None => text.trim().parse().ok().filter(|n| *n >= 1).map(Self::Nodes),
        }
    }
    /// Nodes in a batch of a rollout over `total` nodes, at least 1.
    pub fn nodes(self, total: i64) -> i64 {
        match self {
            Self::Nodes(n) => n.max(1),
            Self::Percent(p) => (total.saturating_mul(p) + 99).div_euclid(100).max(1),
        }
    }
}

impl std::fmt::Display for BatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nodes(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

/// A rollout as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Where it stands.
    pub state: RolloutState,
    /// Nodes in the first batch; 0 is no canary.
    pub canary: i64,
    /// Nodes in each later batch.
    pub batch_size: BatchSize,
    /// Stops when more than this many executions failed; None never stops.
    pub max_failures: Option<i64>,
    /// The batch that is out, from 0.
    pub current_batch: i64,
    /// Number of batches, 0 until the nodes are known.
    pub batches: i64,
    /// Executions that failed, at the last look.
    pub failures: i64,
    /// Failures up to here were forgiven by a person's resume.
    pub forgiven: i64,
}

/// How something is to be rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Nodes in the first batch, 0 for none.
    pub canary: i64,
    /// Nodes in each later batch.
    pub batch_size: BatchSize,
    /// Stops when more fail.
    pub max_failures: Option<i64>,
}

impl RolloutPlan {
    /// The rollout before its nodes are known.
    pub fn begin(self) -> Rollout {
        Rollout {
            state: RolloutState::Running,
            canary: self.canary,
            batch_size: self.batch_size,
            max_failures: self.max_failures,
            current_batch: 0,
            batches: 0,
            failures: 0,
            forgiven: 0,
        }
    }
}

impl Rollout {
    /// The rollout after a person held it, let it go on (which forgives the failures so far), or gave it up.
    ///
    /// # Errors
    /// Conflict when that makes no sense in its state.
    pub fn told(&self, event: RolloutEvent) -> crate::Result<Self> {
        let forgiven = if event == RolloutEvent::Resume { self.failures } else { self.forgiven };
        Ok(Self { state: self.state.advance(event)?, forgiven, ..self.clone() })
    }

    /// The rollout after a look at the batches that are out, of which `open` have not ended and `failures` failed: it stops,
    /// ends, lets the next batch out, or stays as it is.
    ///
    /// # Errors
    /// Conflict when it is not running.
    pub fn step(&self, open: i64, failures: i64) -> crate::Result<Self> {
        let mut after = Self { failures, ..self.clone() };
        if self.max_failures.is_some_and(|most| failures - self.forgiven > most) {
            after.state = self.state.advance(RolloutEvent::TooManyFailures)?;
        } else if open == 0 && self.current_batch + 1 >= self.batches {
            after.state = self.state.advance(RolloutEvent::LastBatchDone)?;
        } else if open == 0 {
            after.current_batch += 1;
        }
        Ok(after)
    }
}

/// The batch, from 0, of the execution with index `index` among `total`.
pub fn batch_of(index: i64, total: i64, canary: i64, batch_size: BatchSize) -> i64 {
    let canary = canary.clamp(0, total);
    if index < canary {
        return 0;
    }
    let first = i64::from(canary > 0);
    first + (index - canary) / batch_size.nodes(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_canary() {
        let batches: Vec<i64> = (0..10).map(|i| batch_of(i, 10, 1, BatchSize::Percent(40))).collect();
        assert_eq!(batches, [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]);
        assert_eq!(batch_of(5, 10, 0, BatchSize::Nodes(5)), 1);
    }

    #[test]
    fn a_finished_rollout_cannot_be_resumed() {
        let error = RolloutState::Completed.advance(RolloutEvent::Resume).unwrap_err();
        assert_eq!(error.message, "cannot resume a rollout that is completed");
    }

    #[test]
    fn steps_stop_end_and_go_on() {
        let plan = RolloutPlan { canary: 1, batch_size: BatchSize::Nodes(2), max_failures: Some(0) };
        let running = Rollout { batches: 2, ..plan.begin() };
        assert_eq!(running.step(1, 0).unwrap(), running);
        let second = running.step(0, 0).unwrap();
        assert_eq!((second.current_batch, second.state), (1, RolloutState::Running));
        assert_eq!(second.step(0, 0).unwrap().state, RolloutState::Completed);
        let stopped = running.step(0, 1).unwrap();
        assert_eq!((stopped.current_batch, stopped.state), (0, RolloutState::Stopped));
        let resumed = stopped.told(RolloutEvent::Resume).unwrap();
        assert_eq!(resumed.step(0, 1).unwrap().current_batch, 1, "forgiven failures do not stop it again");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(BatchSize::parse("10%"), Some(BatchSize::Percent(10)));
        assert_eq!(BatchSize::parse("0"), None);
        assert_eq!(BatchSize::parse("101%"), None);
    }
}
