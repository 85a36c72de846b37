//! Reconnect delays and jitter as pure functions of a random number.

/// A cheap reproducible source of jitter (splitmix64); not for secrets.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from a seed that differs between agents.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 pseudo-random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..=max`.
    pub fn up_to(&mut self, max: u64) -> u64 {
        if max == u64::MAX { self.next_u64() } else { self.next_u64() % (max + 1) }
    }

    /// `interval_ms` plus or minus a tenth, so that a fleet does not beat in step.
    pub fn around(&mut self, interval_ms: u64) -> u64 {
        let spread = interval_ms / 10;
        interval_ms - spread + self.up_to(spread * 2)
    }
}

/// Delay before reconnect attempt number `attempt` (0 is the first retry): exponential with full jitter,
/// anywhere in `0..=min(cap_ms, base_ms * 2^attempt)`.
pub fn full_jitter(attempt: u32, base_ms: u64, cap_ms: u64, random: u64) -> u64 {
    let ceiling = base_ms.saturating_mul(1u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(cap_ms);
    if ceiling == u64::MAX { random } else { random % (ceiling + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delay_stays_below_its_ceiling(attempt in 0u32..200, base in 0u64..10_000, cap in 0u64..1_000_000, random: u64) {
            let delay = full_jitter(attempt, base, cap, random);
            prop_assert!(delay <= cap);
            if attempt < 20 {
                prop_assert!(delay <= base << attempt);
            }
        }

        #[test]
        fn jittered_interval_stays_within_a_tenth(interval in 0u64..10_000_000, seed: u64) {
            let value = Jitter::new(seed).around(interval);
            prop_assert!(value >= interval - interval / 10 && value <= interval + interval / 10);
        }
    }

    #[test]
    fn delays_spread_over_the_whole_range() {
        let mut jitter = Jitter::new(7);
        let delays: Vec<u64> = (0..1000).map(|_| full_jitter(5, 500, 60_000, jitter.next_u64())).collect();
        let low = delays.iter().filter(|d| **d < 4_000).count();
        let high = delays.iter().filter(|d| **d > 12_000).count();
        assert!(low > 150 && high > 150, "{low} {high}");
    }
}
