//! Heartbeats ingested, from agents that send ten a second each.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::report::{Figure, Target};
use super::rig::{Rig, median};

const COUNTER: &str = "reeve_agent_heartbeats_total";

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let rig = Rig::empty(bench)?;
    let agents = bench.agents.unwrap_or(2000);
    let _simulator = rig.simulate(bench, agents, &["--heartbeat", "100ms"])?;
    let (mut rates, mut processors) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let (count, used, begun) = (rig.metric(COUNTER)?, rig.server.process.processor_seconds()?, Instant::now());
        thread::sleep(Duration::from_secs(bench.seconds));
        let elapsed = begun.elapsed().as_secs_f64();
        rates.push((rig.metric(COUNTER)? - count) / elapsed);
        processors.push((rig.server.process.processor_seconds()? - used) / elapsed * 100.0);
    }
    let rate = median(rates);
    let offered = agents as f64 * 10.0;
    let cpu = median(processors);
    Ok(vec![
        Figure::new("heartbeats ingested", rate, "/s", Target::AtLeast(15_000.0))
            .note(format!("{offered:.0}/s sent by {agents} agents")),
        Figure::new("processor of the server", cpu, "% of a core", Target::None)
            .note(format!("{:.0} heartbeats per core-second", rate / cpu * 100.0)),
        Figure::new("memory of the server", rig.server.process.resident_bytes()? as f64 / 1e6, "MB", Target::None),
    ])
}
