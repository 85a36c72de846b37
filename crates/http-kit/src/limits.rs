//! Request limits per principal, and per address for callers without one.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use reeve_types::{Actor, Principal};

use crate::envelope::Fault;

/// A rate with a burst. A rate of 0 switches the limit off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

/// The limits of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRates {
    /// Per authenticated principal.
    pub principal: Rate,
    /// Per address for public routes.
    pub anonymous: Rate,
    /// Per address for failed authentication.
    pub failures: Rate,
}

impl Default for LimitRates {
    /// High enough for the fastest honest client, low enough that one caller cannot take the machine.
    fn default() -> Self {
        Self {
            principal: Rate { per_second: 20_000, burst: 40_000 },
            anonymous: Rate { per_second: 20, burst: 100 },
            failures: Rate { per_second: 5, burst: 50 },
        }
    }
}

impl LimitRates {
    /// No limits.
    pub const OFF: LimitRates = {
        let off = Rate { per_second: 0, burst: 0 };
        LimitRates { principal: off, anonymous: off, failures: off }
    };
}

/// The limiters of a process; surfaces share them, so that a caller has one budget.
pub struct Limits {
    principal: Option<Limiter<String>>,
    anonymous: Option<Limiter<IpAddr>>,
    failures: Option<Limiter<IpAddr>>,
}

impl Limits {
    /// Limiters at these rates.
    pub fn new(rates: LimitRates) -> Self {
        Self {
            principal: Limiter::new(rates.principal),
            anonymous: Limiter::new(rates.anonymous),
            failures: Limiter::new(rates.failures),
        }
    }

    pub(crate) fn admit(&self, actor: &Actor, peer: Option<IpAddr>) -> Result<(), Fault> {
        match (&actor.principal, peer) {
            (Principal::Anonymous, Some(peer)) => check(self.anonymous.as_ref(), &peer),
            (Principal::Anonymous, None) => Ok(()),
            (principal, _) => match &self.principal {
                None => Ok(()),
                Some(limiter) => limiter.check(&principal.label()),
            },
        }
    }

    pub(crate) fn admit_failure(&self, peer: Option<IpAddr>) -> Result<(), Fault> {
        match peer {
            None => Ok(()),
            Some(peer) => check(self.failures.as_ref(), &peer),
        }
    }
}

fn check(limiter: Option<&Limiter<IpAddr>>, peer: &IpAddr) -> Result<(), Fault> {
    match limiter {
        None => Ok(()),
        Some(limiter) => limiter.check(&network(*peer)),
    }
}

/// An IPv6 caller owns at least a /64, so that is what is counted.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
    }
}

struct Limiter<K: Clone + Eq + std::hash::Hash> {
    states: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl<K: Clone + Eq + std::hash::Hash> Limiter<K> {
    fn new(rate: Rate) -> Option<Self> {
        let quota =
            Quota::per_second(NonZeroU32::new(rate.per_second)?).allow_burst(NonZeroU32::new(rate.burst.max(1))?);
        Some(Self { states: RateLimiter::keyed(quota), clock: DefaultClock::default(), checks: AtomicU32::new(0) })
    }

    fn check(&self, key: &K) -> Result<(), Fault> {
        // Callers that went away would stay in memory otherwise.
        if self.checks.fetch_add(1, Ordering::Relaxed) % 65_536 == 65_535 {
            self.states.retain_recent();
        }
        self.states.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Fault::OverLimit { retry_after: wait.max(Duration::from_millis(1)) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_budget_per_principal_and_one_per_network() {
        let rates = LimitRates {
            principal: Rate { per_second: 1, burst: 2 },
            anonymous: Rate { per_second: 1, burst: 1 },
            ..LimitRates::OFF
        };
        let limits = Limits::new(rates);
        let system = Actor::system();
        assert!(limits.admit(&system, None).is_ok());
        assert!(limits.admit(&system, None).is_ok());
        assert!(matches!(limits.admit(&system, None), Err(Fault::OverLimit { .. })));
        let nobody = Actor::anonymous();
        let first: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        assert!(limits.admit(&nobody, Some(first)).is_ok());
        assert!(limits.admit(&nobody, Some(neighbour)).is_err());
        assert!(limits.admit(&nobody, Some("192.0.2.1".parse().unwrap())).is_ok());
        assert!(limits.admit_failure(Some(first)).is_ok());
    }
}
