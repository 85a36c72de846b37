//! From the start of the process to the first 200 of `/readyz`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use reeve_lab::Server;

use super::Bench;
use super::report::{Figure, Target};
use super::rig::{folder, median, options, seed};

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut first = Vec::new();
    for _ in 0..bench.rounds.max(5) {
        first.push(time_to_ready(bench, folder()?.path())?);
    }
    let empty = folder()?;
    let mut again = vec![];
    for _ in 0..=bench.rounds.max(5) {
        again.push(time_to_ready(bench, empty.path())?);
    }
    again.remove(0); // the one that created the store
    let full = folder()?;
    let (nodes, executions) = (10_000, 1_000_000);
    seed(bench, full.path(), nodes, executions)?;
    let mut seeded = Vec::new();
    for _ in 0..bench.rounds {
        seeded.push(time_to_ready(bench, full.path())?);
    }
    let note = format!("{} nodes, {} executions", nodes * bench.percent / 100, executions * bench.percent / 100);
    Ok(vec![
        Figure::new("very first start: store, keys, admin", median(first), "ms", Target::None),
        Figure::new("start on an empty store", median(again), "ms", Target::AtMost(200.0)),
        Figure::new("start on a large store", median(seeded), "ms", Target::AtMost(1000.0)).note(note),
    ])
}

fn time_to_ready(bench: &Bench, folder: &Path) -> Result<f64> {
    let begun = Instant::now();
    let mut server = Server::start(&options(bench, folder, "127.0.0.1:0"))?;
    let elapsed = begun.elapsed();
    server.process.stop(Duration::from_secs(30))?;
    Ok(elapsed.as_secs_f64() * 1000.0)
}
