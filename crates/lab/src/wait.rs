//! Awaiting a condition. Nothing else in a test may wait, and nothing in a test says how fast something has to be: what does
//! not come at all is what fails.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long tests wait for what has to come: long enough for a machine with twenty times its load.
pub const PATIENCE: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until `ask` gives a value; after `limit` fails with `what` was awaited and what was seen last.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match ask() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}; last: {seen}", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `ask` is true.
pub fn eventually(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, limit, || Ok(ask()?.then_some(())))
}

/// Looks until there is what was looked for, and gives it; panics after [`PATIENCE`] with what was awaited and what was
/// seen last.
pub async fn find<T, S: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "waited {} s for {what}; last: {seen:#?}", PATIENCE.as_secs());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// Awaits that a condition holds; panics after [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    find(what, async || if holds() { Ok(()) } else { Err("not yet") }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sight_is_told() {
        let error = eventually("the moon", Duration::ZERO, || bail!("cloudy")).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for the moon; last: cloudy");
    }
}
