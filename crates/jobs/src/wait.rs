//! Waiting for an instant of the given clock: timers wake, the clock decides.

use std::sync::Arc;
use std::time::Duration;

use reeve_types::{Clock, Timestamp};

/// A clock may be moved by hand, so it is looked at this often at least.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A clock that went back by more than this was set; less is a correction.
const SET_BACK_US: i64 = 1_000_000;

/// Returns once `clock` has come to `at`, or was set back: what is an hour away then was a minute away when it was decided.
pub(crate) async fn until(clock: &Arc<dyn Clock>, at: Timestamp) {
    let mut seen = clock.now();
    loop {
        let now = clock.now();
        let left_us = at.0.saturating_sub(now.0);
        if left_us <= 0 || seen.0.saturating_sub(now.0) > SET_BACK_US {
            return;
        }
        seen = now;
        tokio::time::sleep(Duration::from_micros(left_us as u64).min(LOOK_AGAIN)).await;
    }
}

/// `now` plus a duration.
pub(crate) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

/// `duration` changed by up to `percent` either way.
pub(crate) fn jittered(ids: &dyn reeve_types::id::Ids, duration: Duration, percent: u32) -> Duration {
    let mut bytes = [0; 2];
    ids.fill(&mut bytes);
    let share = f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX) * 2.0 - 1.0;
    duration.mul_f64((1.0 + share * f64::from(percent) / 100.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::ManualClock;

    #[tokio::test]
    async fn a_clock_that_was_set_back_is_not_waited_for() {
        let manual = Arc::new(ManualClock::at(Timestamp(1_000_000_000_000)));
        let clock: Arc<dyn Clock> = manual.clone();
        let at = after(clock.now(), Duration::from_secs(60));
        let mut waiting = std::pin::pin!(until(&clock, at));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        manual.advance_ms(-500);
        let corrected = tokio::time::timeout(LOOK_AGAIN * 2, waiting.as_mut()).await;
        assert!(corrected.is_err(), "it was only corrected");
        manual.advance_ms(-3_600_000);
        waiting.await;
    }
}
