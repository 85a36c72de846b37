//! The server's clock, as far as this node knows it: expiry is decided by it, not by a device's guess.
//!
//! Counted on from the server's last word by a clock that nobody sets. A device without a battery wakes up in 1970 and is
//! corrected by decades while it is connected: a correction of its own clock would then be wrong by as much.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the server said it was, and what this machine's uptime was then.
#[derive(Debug, Default)]
pub struct Clock {
    told: Mutex<Option<Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    server_us: i64,
    uptime_us: i64,
}

impl Clock {
    /// Microseconds since the epoch. Until the server has said what time it is, this machine's own.
    pub fn now_us(&self) -> i64 {
        self.at(uptime_us()).unwrap_or_else(local_us)
    }

    /// Adopts the server's time.
    pub fn adjust(&self, server_us: i64) {
        self.adjust_at(server_us, uptime_us());
    }

    fn at(&self, uptime_us: i64) -> Option<i64> {
        let told = (*self.told.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(told.server_us.saturating_add(uptime_us.saturating_sub(told.uptime_us)))
    }

    fn adjust_at(&self, server_us: i64, uptime_us: i64) {
        if server_us > 0 {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told { server_us, uptime_us });
        }
    }
}

/// Time since boot, time asleep included where the kernel counts it.
fn uptime_us() -> i64 {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let since = rustix::time::clock_gettime(id);
    since.tv_sec.saturating_mul(1_000_000).saturating_add(since.tv_nsec / 1_000)
}

fn local_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_server() {
        let clock = Clock::default();
        assert!((clock.now_us() - local_us()).abs() < 1_000_000);
        clock.adjust(5_000_000);
        assert!((clock.now_us() - 5_000_000).abs() < 1_000_000);
        clock.adjust(0);
        assert!(clock.now_us() < 10_000_000);
    }

    #[test]
    fn goes_on_by_what_nobody_sets() {
        let clock = Clock::default();
        assert_eq!(clock.at(7_000_000), None);
        clock.adjust_at(1_800_000_000_000_000, 7_000_000);
        assert_eq!(clock.at(9_500_000), Some(1_800_000_002_500_000), "whatever the machine's own clock was set to");
        assert!(uptime_us() > 0);
    }
}
