//! Many connected agents that do nothing but stay: what they cost the server, and how soon they are all there.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::Process;

use super::Bench;
use super::report::{Figure, Target};
use super::rig::{self, Rig};

/// What the target is for.
const AGENTS: u64 = 20_000;
const COUNTER: &str = "reeve_agent_heartbeats_total";
/// Agents of one simulator. Each has a loopback address of its own to connect to, and with it all local ports.
const EACH: u64 = 5_000;
/// Long enough for every agent to beat twice and to push a sample.
const WINDOW: Duration = Duration::from_secs(60);
/// For what a join leaves behind: samples, buffers, rows.
const SETTLE: Duration = Duration::from_secs(35);
/// Files of the server beside agents' sockets.
const OTHER_FILES: u64 = 500;

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let (agents, why_fewer) = how_many(bench)?;
    let rig = Rig::on(bench, rig::folder()?, "0.0.0.0:0")?;
    thread::sleep(Duration::from_secs(3));
    let idle = rig.server.process.resident_bytes()?;
    let (begun, used) = (Instant::now(), rig.server.process.processor_seconds()?);
    let mut simulators = simulators(&rig, bench, agents)?;
    await_all(&rig, agents, &mut simulators)?;
    let ramp = begun.elapsed().as_secs_f64();
    let ramp_used = rig.server.process.processor_seconds()? - used;
    eprintln!("  {agents} agents after {ramp:.1} s; measuring for {} s", bench.rounds as u64 * WINDOW.as_secs());
    thread::sleep(SETTLE);

    let (mut shares, mut beats) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let (count, used, begun) = (rig.metric(COUNTER)?, rig.server.process.processor_seconds()?, Instant::now());
        thread::sleep(WINDOW);
        let elapsed = begun.elapsed().as_secs_f64();
        shares.push((rig.server.process.processor_seconds()? - used) / elapsed * 100.0);
        beats.push((rig.metric(COUNTER)? - count) / elapsed);
    }
    let connected = rig.server.agents_connected()?;
    if connected < agents {
        bail!("{} of {agents} agents were lost meanwhile", agents - connected);
    }
    simulators.iter_mut().try_for_each(Process::must_run)?;
    let resident = rig.server.process.resident_bytes()?;
    let (most, expected) = (shares.iter().copied().fold(0.0, f64::max), agents as f64 / 30.0);
    Ok(vec![
        Figure::new(
            format!("{agents} agents, heartbeat 30 s: processor"),
            rig::median(shares),
            "% of a core",
            Target::AtMost(25.0),
        )
        .note(format!(
            "median of {} minutes, at most {most:.1}; {:.0} heartbeats/s of {expected:.0} due{why_fewer}",
            bench.rounds,
            rig::median(beats)
        )),
        Figure::new(
            format!("{agents} agents: memory of the server"),
            resident as f64 / 1e6,
            "MB",
            Target::AtMost(600.0),
        )
        .note(format!(
            "{:.1} KB each; {:.1} MB without any",
            (resident as f64 - idle as f64) / agents as f64 / 1e3,
            idle as f64 / 1e6
        )),
        Figure::new(format!("{agents} agents enroll and connect"), ramp, "s", Target::None).note(format!(
            "{:.0}/s, {ramp_used:.1} s of processor time in the server{why_fewer}",
            agents as f64 / ramp
        )),
    ])
}

/// As many as were asked for; of the usual number as many as this machine has files for, and why they are fewer.
fn how_many(bench: &Bench) -> Result<(u64, String)> {
    let limit = rig::file_limit();
    let fit = limit.saturating_sub(OTHER_FILES);
    let wanted = bench.agents.unwrap_or(AGENTS);
    if wanted <= fit {
        return Ok((wanted, String::new()));
    }
    let words = format!(
        "{wanted} agents need {} open files in the server, and the hard limit here is {limit} (ulimit -Hn, LimitNOFILE=)",
        wanted + OTHER_FILES
    );
    if bench.agents.is_some() {
        bail!("{words}; raise it, or measure at most {fit}");
    }
    eprintln!("  {words}: measuring {fit}");
    Ok((fit, format!("; not {wanted}: the hard limit of open files is {limit}")))
}

/// Simulators that share the agents, each at an address of its own.
fn simulators(rig: &Rig, bench: &Bench, agents: u64) -> Result<Vec<Process>> {
    let key = rig.server.enrollment_key("simulated")?;
    let endpoint = rig.server.url("agents")?;
    let port =
        endpoint.trim_end_matches('/').rsplit(':').next().context("the agents' listener has no port")?.to_owned();
    let mut processes = Vec::new();
    let mut left = agents;
    for number in 1.. {
        let count = left.min(EACH);
        if count == 0 {
            break;
        }
        let mut command = Command::new(&bench.reeve);
        command.args(["simulate", "agents", "--count", &count.to_string(), "--key", &key]);
        command.args(["--server", &format!("127.0.0.{number}:{port}")]);
        let log = rig.folder.path().join(format!("simulate-{number}.log"));
        processes.push(Process::spawn("reeve simulate", &mut command, &log)?);
        left -= count;
    }
    Ok(processes)
}

fn await_all(rig: &Rig, agents: u64, simulators: &mut [Process]) -> Result<()> {
    eprintln!("  waiting for {agents} simulated agents");
    let waited = rig.server.await_agents(agents, Duration::from_secs(600));
    simulators.iter_mut().try_for_each(Process::must_run)?;
    waited.with_context(|| {
        let words: Vec<String> = simulators.iter().map(Process::last_words).collect();
        format!("the simulators said:\n{}", words.join("\n"))
    })
}
