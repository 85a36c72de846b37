//! Waiting for an instant of the given clock: timers wake, the clock decides.

use std::sync::Arc;
use std::time::Duration;

use reeve_types::{Clock, Timestamp};

/// A clock may be moved by hand, so it is looked at this often at least.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Returns once `clock` has come to `at`.
pub(crate) async fn until(clock: &Arc<dyn Clock>, at: Timestamp) {
    loop {
        let left_us = at.0.saturating_sub(clock.now().0);
        if left_us <= 0 {
            return;
        }
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
