//! The server's clock, as far as this node knows it: expiry is decided by it, not by a device's guess.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// This machine's clock plus a correction.
#[derive(Debug, Default)]
pub struct Clock {
    correction_us: AtomicI64,
}

impl Clock {
    /// Microseconds since the epoch.
    pub fn now_us(&self) -> i64 {
        local_us().saturating_add(self.correction_us.load(Ordering::Relaxed))
    }

    /// Adopts the server's time.
    pub fn adjust(&self, server_us: i64) {
        if server_us > 0 {
            self.correction_us.store(server_us.saturating_sub(local_us()), Ordering::Relaxed);
        }
    }
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
}
