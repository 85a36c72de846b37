//! Memory of server and agent, and sizes of the binaries.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use reeve_lab::Agent;

use super::Bench;
use super::report::{Figure, Target};
use super::rig::Rig;
use crate::up;

/// Long enough for what a start leaves behind to be freed.
const SETTLE: Duration = Duration::from_secs(5);

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let agent_binary = agent_binary()?;
    let mut rig = Rig::empty(bench)?;
    thread::sleep(SETTLE);
    let idle = rig.server.process.resident_bytes()?;
    let mut figures = vec![Figure::new("server, idle", mb(idle), "MB", Target::AtMost(40.0))];

    let enroll = |binary: &std::path::Path, name: &str| -> Result<Agent> {
        let key = rig.server.enrollment_key(name)?;
        Agent::enroll(binary, None, &rig.folder.path().join(name), &key)
    };
    let mut agents = [
        ("reeve-agent", enroll(&agent_binary, "small")?, Target::AtMost(10.0)),
        ("reeve agent", enroll(&bench.reeve, "large")?, Target::None),
    ];
    rig.server.await_agents(agents.len() as u64, Duration::from_secs(30))?;
    let mut simulators = Vec::new();
    let mut total = 0;
    for count in [1000, 4000] {
        simulators.push(rig.simulate(bench, count, &[])?);
        total += count;
        thread::sleep(SETTLE);
        let resident = rig.server.process.resident_bytes()?;
        let each = (resident as f64 - idle as f64) / total as f64 / 1e3;
        figures.push(Figure::new(format!("server, {total} agents"), mb(resident), "MB", Target::None));
        figures.push(Figure::new(format!("server, each of {total} agents"), each, "KB", Target::AtMost(30.0)));
    }
    drop(simulators);

    for (name, agent, target) in &agents {
        figures.push(Figure::new(*name, mb(agent.process.resident_bytes()?), "MB", *target));
    }
    rig.server.process.kill()?;
    thread::sleep(SETTLE * 3);
    for (name, agent, target) in &mut agents {
        agent.process.must_run()?;
        let resident = mb(agent.process.resident_bytes()?);
        figures.push(Figure::new(format!("{name}, server away for 15 s"), resident, "MB", *target));
    }

    figures.push(Figure::new("binary reeve", size_mb(&bench.reeve)?, "MB", Target::AtMost(30.0)));
    figures.push(Figure::new("binary reeve-agent", size_mb(&agent_binary)?, "MB", Target::AtMost(5.0)));
    Ok(figures)
}

/// The agent alone, built to be small.
fn agent_binary() -> Result<PathBuf> {
    let mut built = up::build(&["-p", "reeve-agent", "--bins"], "agent")?;
    built.pop_first().map(|(_, path)| path).ok_or_else(|| anyhow::anyhow!("crate reeve-agent has no binary"))
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn size_mb(path: &std::path::Path) -> Result<f64> {
    Ok(mb(std::fs::metadata(path)?.len()))
}
