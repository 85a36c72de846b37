//! Durable job steps drained, and how long a job waits before it starts: measured in the process, by the hidden
//! command `reeve dev bench-jobs`, because no API enqueues ten thousand empty jobs.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::report::{Figure, Target};
use super::rig::{folder, median};
use crate::shell;

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let (mut steps, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let folder = folder()?;
        let mut command = Command::new(&bench.reeve);
        command.args(["dev", "bench-jobs", "--data"]).arg(folder.path());
        let text = shell::capture(&mut command)?;
        let line = text.lines().last().unwrap_or_default();
        let result: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))?;
        let number = |name: &str| result[name].as_f64().with_context(|| format!("no {name} in {result}"));
        steps.push(number("steps_per_second")?);
        waits.push(number("enqueue_to_start_p50_ms")?);
    }
    Ok(vec![
        Figure::new("durable job steps drained", median(steps), "/s", Target::AtLeast(10_000.0)),
        Figure::new("enqueue to start, p50", median(waits), "ms", Target::AtMost(10.0)),
    ])
}
