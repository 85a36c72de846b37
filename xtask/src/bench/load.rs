//! A load generator: as many threads as clients, each with one kept connection, one request at a time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::Client;

/// What a run of load measured.
pub struct Load {
    pub per_second: f64,
    latencies: Vec<Duration>,
}

impl Load {
    /// The latency that `share` of the requests stayed below, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// A request: method, path, body.
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Option<String>,
}

/// Drives `url` with `clients` connections for `seconds` (and one second before, not counted). `make` gives each
/// client's n-th request. Any answer but `expected` is an error: a fast refusal is no result.
pub fn drive(
    url: &str,
    bearer: &str,
    clients: usize,
    seconds: u64,
    expected: u16,
    make: impl Fn(usize, u64) -> Request + Sync,
) -> Result<Load> {
    let barrier = Barrier::new(clients);
    let (make, barrier) = (&make, &barrier);
    let results: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || one_client(Client::new(url, bearer), number, seconds, expected, make, barrier))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    let mut latencies = Vec::new();
    for result in results {
        latencies.extend(result?);
    }
    latencies.sort_unstable();
    Ok(Load { per_second: latencies.len() as f64 / seconds as f64, latencies })
}

fn one_client(
    mut client: Client,
    number: usize,
    seconds: u64,
    expected: u16,
    make: &(impl Fn(usize, u64) -> Request + Sync),
    barrier: &Barrier,
) -> Result<Vec<Duration>> {
    barrier.wait();
    let counted_from = Instant::now() + Duration::from_secs(1);
    let end = counted_from + Duration::from_secs(seconds);
    let mut latencies = Vec::new();
    for turn in 0.. {
        let request = make(number, turn);
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let answer = client.send(request.method, &request.path, request.body.as_deref().map(str::as_bytes));
        let answer = answer.context("the load stopped")?;
        if answer.status != expected {
            bail!("{} {} answered {}: {}", request.method, request.path, answer.status, answer.text());
        }
        if begun >= counted_from {
            latencies.push(begun.elapsed());
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_sorted_latencies() {
        let load = Load { per_second: 1.0, latencies: (1..=101).map(Duration::from_millis).collect() };
        assert_eq!(load.percentile_ms(0.5), 51.0);
        assert_eq!(load.percentile_ms(0.99), 100.0);
        assert!(Load { per_second: 0.0, latencies: Vec::new() }.percentile_ms(0.5).is_nan());
    }
}
