//! What the benchmarks share: a server on a fresh data directory, simulated agents, numbers out of `/metrics`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reeve_lab::{Process, Server, ServerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::Bench;
use crate::shell;

/// A running server whose data is removed with it.
pub struct Rig {
    pub server: Server,
    pub folder: TempDir,
}

impl Rig {
    /// A server on an empty store.
    pub fn empty(bench: &Bench) -> Result<Self> {
        Self::on(bench, folder()?, "127.0.0.1:0")
    }

    /// A server on the data below `folder`, with agents connecting to `agents`.
    pub fn on(bench: &Bench, folder: TempDir, agents: &str) -> Result<Self> {
        Ok(Self { server: Server::start(&options(bench, folder.path(), agents))?, folder })
    }

    /// Starts `count` simulated agents and waits until they are connected.
    pub fn simulate(&self, bench: &Bench, count: u64, args: &[&str]) -> Result<Process> {
        let key = self.server.enrollment_key(&format!("sim-{count}"))?;
        let endpoint = self.server.url("agents")?;
        let endpoint = endpoint.split_once("://").map_or(endpoint, |(_, address)| address).trim_end_matches('/');
        let before = self.server.agents_connected()?;
        let mut command = Command::new(&bench.reeve);
        command.args(["simulate", "agents", "--count", &count.to_string(), "--key", &key, "--server", endpoint]);
        let log = self.folder.path().join(format!("simulate-{count}.log"));
        let mut process = Process::spawn("reeve simulate", command.args(args), &log)?;
        eprintln!("  waiting for {count} simulated agents");
        self.server
            .await_agents(before + count, Duration::from_secs(300))
            .with_context(|| format!("the simulator said:\n{}", process.last_words()))?;
        process.must_run()?;
        Ok(process)
    }

    /// The sum of a counter or gauge over its labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let answer = self.server.console()?.send("GET", "/metrics", None)?;
        if answer.status != 200 {
            bail!("/metrics answered {}", answer.status);
        }
        sum(&answer.text(), name).with_context(|| format!("/metrics has no {name}"))
    }
}

/// How the benchmarks start a server.
pub fn options(bench: &Bench, folder: &Path, agents: &str) -> ServerOptions {
    ServerOptions {
        binary: bench.reeve.clone(),
        data: folder.join("data"),
        agents: agents.to_owned(),
        // Logging is part of what is measured; at the level people run it.
        // One principal sends all of the load, which the limit of requests is there to stop.
        environment: vec![
            ("REEVE_LOG".to_owned(), "info".to_owned()),
            ("REEVE_REQUESTS_PER_SECOND".to_owned(), "0".to_owned()),
        ],
    }
}

/// Fills the store below `folder` with rows while no server runs.
pub fn seed(bench: &Bench, folder: &Path, nodes: u64, executions: u64) -> Result<()> {
    let (nodes, executions) = (nodes * bench.percent / 100, executions * bench.percent / 100);
    eprintln!("  seeding {nodes} nodes and {executions} executions");
    let mut command = Command::new(&bench.reeve);
    command.args(["dev", "seed", "--nodes", &nodes.to_string(), "--executions", &executions.to_string()]);
    shell::capture(command.arg("--data").arg(folder.join("data")))?;
    Ok(())
}

/// A folder on the disk of the workspace: a temporary file system has no fsync to measure.
pub fn folder() -> Result<TempDir> {
    let parent = shell::root().join("target/bench");
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::Builder::new().prefix("data-").tempdir_in(parent)?)
}

/// More than any benchmark needs.
const MOST_FILES: u64 = 100_000;

/// Ten thousand connections need as many files, here and in what is started from here. The superuser may go beyond the
/// hard limit; everybody else goes up to it.
pub fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let beyond = limit.maximum.map(|hard| hard.max(MOST_FILES));
    if setrlimit(Resource::Nofile, Rlimit { current: beyond, maximum: beyond }).is_ok() {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}

/// Open files that a process started from here may have.
pub fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# HELP beats x\nbeats_total{a=\"1\"} 3\nbeats_total{a=\"2\"} 4\nbeats_total_more 9\nplain 2\n";
        assert_eq!(sum(text, "beats_total"), Some(7.0));
        assert_eq!(sum(text, "plain"), Some(2.0));
        assert_eq!(sum(text, "absent"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
