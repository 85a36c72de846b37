//! The clock of a simulator: moved by the test, by every call, or by the real one.

use std::sync::atomic::{AtomicI64, Ordering};

use reeve_types::{Clock, ManualClock, SystemClock, Timestamp};

/// Time as a simulator and those who talk to it see it.
pub enum SimulatedTime {
    /// Stands still but for `advance_ms`, and moves on by `per_call_ms` with every call: for clients that poll.
    Manual {
        /// What it shows.
        clock: ManualClock,
        /// Milliseconds with every call.
        per_call_ms: AtomicI64,
    },
    /// The machine's clock.
    Real,
    /// The machine's clock at another pace, for those who rehearse and do not want to wait.
    Fast {
        /// Where both clocks show the same.
        since: Timestamp,
        /// So many times as fast.
        times: i64,
    },
}

impl SimulatedTime {
    /// A clock that stands at a fixed instant.
    pub fn manual() -> Self {
        let start = Timestamp::parse("2026-03-01T12:00:00Z").expect("an instant");
        Self::Manual { clock: ManualClock::at(start), per_call_ms: AtomicI64::new(0) }
    }
    /// The machine's clock, from here on so many times as fast.
    pub fn fast(times: u32) -> Self {
        if times == 1 { Self::Real } else { Self::Fast { since: SystemClock.now(), times: times.into() } }
    }
    /// Moves on. Nothing on the machine's clock.
    pub fn advance_ms(&self, ms: i64) {
        if let Self::Manual { clock, .. } = self {
            clock.advance_ms(ms);
        }
    }
    /// Moves on by so much with every call from here on.
    pub fn advance_per_call_ms(&self, ms: i64) {
        if let Self::Manual { per_call_ms, .. } = self {
            per_call_ms.store(ms, Ordering::SeqCst);
        }
    }
    pub(crate) fn call(&self) {
        if let Self::Manual { clock, per_call_ms } = self {
            clock.advance_ms(per_call_ms.load(Ordering::SeqCst));
        }
    }
}

impl Clock for SimulatedTime {
    fn now(&self) -> Timestamp {
        match self {
            Self::Manual { clock, .. } => clock.now(),
            Self::Real => SystemClock.now(),
            Self::Fast { since, times } => Timestamp(since.0 + (SystemClock.now().0 - since.0) * times),
        }
    }
}
