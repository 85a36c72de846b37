//! `cargo xtask bench NAME`: drives a release build from outside and prints each figure beside its target, and beside
//! a peer measured in the same run where there is one. A figure is measured here or not at all: no test is timed.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{shell, up};

mod agents;
mod bare_axum;
mod fanout;
mod footprint;
mod heartbeats;
mod jobs;
mod lists;
mod load;
mod peers;
mod provisioning;
mod reads;
mod receivers;
mod report;
mod rig;
mod ssh;
mod start;
mod webhooks;
mod writes;

use report::{Figure, Report};
pub use rig::folder;

#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    name: Name,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Alternating rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Simulated agents (heartbeats: 2000, fanout: 10000, agents: 20000)
    #[arg(long)]
    agents: Option<u64>,
    /// Hosts with sshd for the comparisons with ansible and pssh; 0 leaves that of fanout out
    #[arg(long, default_value_t = 20)]
    hosts: u32,
    /// Rows for the measurements on a large store, in percent of the full size
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100))]
    percent: u64,
    /// Use these binaries instead of building
    #[arg(long, hide = true)]
    reeve: Option<PathBuf>,
    /// Use this client of `ssh` instead of building it
    #[arg(long, hide = true)]
    client: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Name {
    Fanout,
    Heartbeats,
    Writes,
    Reads,
    Lists,
    Jobs,
    Webhooks,
    Ssh,
    Provisioning,
    Start,
    Footprint,
    Agents,
    All,
    /// The peer of `reads`: serves one answer until it is killed
    #[value(hide = true)]
    BareAxum,
}

/// What every benchmark gets.
pub struct Bench {
    reeve: PathBuf,
    seconds: u64,
    rounds: usize,
    agents: Option<u64>,
    hosts: u32,
    percent: u64,
    client: Option<PathBuf>,
}

type Run = fn(&Bench) -> Result<Vec<Figure>>;

const BENCHES: &[(Name, &str, Run)] = &[
    (Name::Start, "start", start::run),
    (Name::Footprint, "footprint", footprint::run),
    (Name::Writes, "writes", writes::run),
    (Name::Reads, "reads", reads::run),
    (Name::Lists, "lists", lists::run),
    (Name::Jobs, "jobs", jobs::run),
    (Name::Webhooks, "webhooks", webhooks::run),
    (Name::Heartbeats, "heartbeats", heartbeats::run),
    (Name::Agents, "agents", agents::run),
    (Name::Fanout, "fanout", fanout::run),
    (Name::Ssh, "ssh", ssh::run),
    (Name::Provisioning, "provisioning", provisioning::run),
];

pub fn run(args: &Args) -> Result<ExitCode> {
    if args.name == Name::BareAxum {
        return bare_axum::serve();
    }
    let reeve = match &args.reeve {
        Some(reeve) => reeve.clone(),
        // Builds a client of its own, and needs no server.
        None if args.name == Name::Ssh => PathBuf::new(),
        None => return in_release(),
    };
    rig::raise_file_limit()?;
    let bench = Bench {
        reeve,
        seconds: args.seconds,
        rounds: args.rounds.max(1),
        agents: args.agents,
        hosts: args.hosts,
        percent: args.percent,
        client: args.client.clone(),
    };
    let mut failed = Vec::new();
    for (name, label, run) in BENCHES {
        if args.name != Name::All && args.name != *name {
            continue;
        }
        eprintln!("bench {label} ...");
        match run(&bench) {
            Ok(figures) => Report { bench: label, figures }.publish()?,
            Err(error) => {
                println!("{label}: FAILED: {error:#}");
                failed.push(*label);
            }
        }
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the server and this tool with optimisation and becomes the latter: a slow client measures itself.
fn in_release() -> Result<ExitCode> {
    eprintln!("building reeve and xtask (release)");
    let built = up::build(&["--bin", "reeve", "--bin", "xtask"], "release")?;
    let xtask = built.get("xtask").context("cargo built no xtask")?;
    let reeve = built.get("reeve").context("cargo built no reeve")?;
    let error = Command::new(xtask)
        .args(std::env::args_os().skip(1))
        .arg("--reeve")
        .arg(reeve)
        .current_dir(shell::root())
        .exec();
    Err(error).with_context(|| format!("cannot start {}", xtask.display()))
}
