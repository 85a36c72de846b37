//! Awaiting a condition of another process. Nothing else in a test may wait.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sight_is_told() {
        let error = eventually("the moon", Duration::ZERO, || bail!("cloudy")).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for the moon; last: cloudy");
    }
}
