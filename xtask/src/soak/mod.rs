//! `cargo xtask soak`: kills the server with -9 at random moments under load, hundreds of times, and holds what is there
//! in the end against what clients were told. It drives the shipped binary from outside and believes no counter of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reeve_lab::{Agent, Server, ServerOptions};

use crate::up;

mod load;
mod verdict;

use load::{Load, Target};

/// The cluster that everything is made in.
const CLUSTER: &str = "soak";

#[derive(clap::Args)]
pub struct Args {
    /// Times that the server is killed
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
    /// Ends earlier, after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Agents; one of them is killed in every tenth round too
    #[arg(long, default_value_t = 3)]
    agents: usize,
    /// Longest life of a server in milliseconds, from the moment it is ready
    #[arg(long, default_value_t = 1200)]
    life_ms: u64,
    /// Begins the random moments anew; printed
    #[arg(long)]
    seed: Option<u64>,
    /// Use this binary instead of building one
    #[arg(long)]
    reeve: Option<PathBuf>,
}

/// Random moments that a seed brings back.
struct Dice(u64);

impl Dice {
    /// Below `limit`, by xorshift.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let binary = match &args.reeve {
        Some(binary) => binary.clone(),
        None => up::reeve("release")?,
    };
    let folder = crate::bench::folder()?;
    let seed = args.seed.unwrap_or_else(|| (u64::from(std::process::id()) * 2_654_435_761) | 1);
    eprintln!("soak: {} rounds, seed {seed}, data in {}", args.rounds, folder.path().display());
    let mut dice = Dice(seed);
    let options = ServerOptions {
        binary: binary.clone(),
        data: folder.path().join("server"),
        agents: format!("127.0.0.1:{}", free_port()?),
        environment: [("REEVE_LOG", "warn"), ("EXECUTION_PRUNING_ENABLED", "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
    };
    let mut server = Server::start(&options)?;
    let key = server.enrollment_key(CLUSTER)?;
    let mut agents: Vec<Agent> = (0..args.agents)
        .map(|n| Agent::enroll(&binary, None, &folder.path().join(format!("agent-{n}")), &key))
        .collect::<Result<_>>()?;
    server.await_agents(args.agents as u64, Duration::from_secs(60))?;

    let target = Arc::new(Target::default());
    target.is(Some(&server))?;
    let load = Load::start(&target, &folder.path().join("effects"))?;
    let (begun, mut rounds, mut agent_kills, mut slowest) = (Instant::now(), 0, 0, Duration::ZERO);
    while rounds < args.rounds && args.minutes.is_none_or(|most| begun.elapsed() < Duration::from_secs(most * 60)) {
        thread::sleep(Duration::from_millis(dice.below(args.life_ms)));
        let down = Instant::now();
        server.process.kill()?;
        target.is(None)?;
        if rounds % 10 == 9 {
            let unlucky = dice.below(agents.len() as u64) as usize;
            let agent = agents.swap_remove(unlucky);
            agents.push(agent.kill_and_restart()?);
            agent_kills += 1;
        }
        server = Server::start(&options).with_context(|| format!("round {rounds}"))?;
        slowest = slowest.max(down.elapsed());
        target.is(Some(&server))?;
        rounds += 1;
        if rounds % 50 == 0 {
            eprintln!("  {rounds} kills in {} s; {}", begun.elapsed().as_secs(), load.counts());
        }
    }
    let told = load.stop()?;
    eprintln!("  the load has stopped: {}", told.counts());
    for agent in &mut agents {
        agent.process.must_run()?;
    }
    let figures = verdict::hold(&server, &told, args.agents as u64)?;
    println!("soak    {rounds} kills of the server and {agent_kills} of an agent in {} s", begun.elapsed().as_secs());
    println!("        slowest return to service {:.1} s", slowest.as_secs_f64());
    for line in &figures.seen {
        println!("        {line}");
    }
    for line in &figures.problems {
        println!("BROKEN  {line}");
    }
    Ok(if figures.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_brings_the_moments_back() {
        let throw = |seed| {
            let mut dice = Dice(seed);
            (0..5).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(throw(7), throw(7));
        assert_ne!(throw(7), throw(8));
    }
}
