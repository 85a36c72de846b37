//! The `reeve` binary as its users see it: a server with its data directory, agents, keys, commands.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::http::Client;
use crate::net::Host;
use crate::process::Process;
use crate::wait::wait_for;

const START_LIMIT: Duration = Duration::from_secs(60);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The built `reeve`.
    pub binary: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// Where agents connect; keep the port, so that they find a restarted server again.
    pub agents: String,
    /// More of its environment: `REEVE_...`.
    pub environment: Vec<(String, String)>,
}

/// A running `reeve serve`; killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    /// What it was started with, to start it again.
    pub options: ServerOptions,
    listeners: HashMap<String, String>,
    master_key: String,
}

impl Server {
    /// Starts `reeve serve` and waits until it is ready.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        let ServerOptions { binary, data, agents, environment } = options;
        fs::create_dir_all(data)?;
        let run_file = data.join("run.json");
        if run_file.exists() {
            fs::remove_file(&run_file)?; // of a server that was killed
        }
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(data);
        for listen in
            ["edge=127.0.0.1:0", "provisioning=127.0.0.1:0", "console=127.0.0.1:0", &format!("agents={agents}")]
        {
            command.args(["--listen", listen]);
        }
        command.envs(environment.iter().cloned());
        let process = Process::spawn("reeve serve", &mut command, &log_beside(data))?;
        Self::ready(process, options)
    }

    /// Waits until a server that was started by other means is ready.
    pub fn ready(mut process: Process, options: &ServerOptions) -> Result<Self> {
        let run_file = options.data.join("run.json");
        let listeners: HashMap<String, String> = wait_for("run.json", START_LIMIT, || {
            process.must_run()?;
            let Ok(text) = fs::read(&run_file) else {
                return Ok(None);
            };
            let run: Value = serde_json::from_slice(&text)?;
            Ok(Some(serde_json::from_value(run["listeners"].clone())?))
        })?;
        let credentials: Value = serde_json::from_slice(&fs::read(options.data.join("credentials.json"))?)?;
        let master_key = credentials["master_key"].as_str().context("no master_key")?.to_owned();
        let server = Self { process, options: options.clone(), listeners, master_key };
        let mut console = server.console()?;
        wait_for("readyz", START_LIMIT, || Ok((console.send("GET", "/readyz", None)?.status == 200).then_some(())))
            .with_context(|| server.process.last_words())?;
        Ok(server)
    }

    /// `kill -9`, then starts it again on the same data and the same agents' address.
    pub fn kill_and_restart(mut self) -> Result<Self> {
        self.process.kill()?;
        Self::start(&self.options)
    }

    /// The URL of a listener: `edge`, `console` or `agents`.
    pub fn url(&self, surface: &str) -> Result<&str> {
        self.listeners.get(surface).map(String::as_str).with_context(|| format!("no listener {surface}"))
    }

    /// A client of the edge listener with the master key.
    pub fn edge(&self) -> Result<Client> {
        Ok(Client::new(self.url("edge")?, &self.master_key))
    }

    /// A client of the console listener with the master key.
    pub fn console(&self) -> Result<Client> {
        Ok(Client::new(self.url("console")?, &self.master_key))
    }

    /// The key that may do everything.
    pub fn master_key(&self) -> &str {
        &self.master_key
    }

    /// Makes a cluster and an enrollment key for it without a limit of uses; the key's blob.
    pub fn enrollment_key(&self, cluster: &str) -> Result<String> {
        let mut edge = self.edge()?;
        edge.call("POST", "/api/v1/clusters", &json!({ "name": cluster }))?;
        let path = format!("/api/v1/clusters/{cluster}/enrollment_keys");
        let key = edge.call("POST", &path, &json!({ "uses_remaining": null }))?;
        Ok(key["key"].as_str().context("no key")?.to_owned())
    }

    /// How many agents are connected.
    pub fn agents_connected(&self) -> Result<u64> {
        let server = self.console()?.get("/api/server")?;
        server["agents_connected"].as_u64().context("no agents_connected")
    }

    /// Waits until `count` agents are connected.
    pub fn await_agents(&self, count: u64, limit: Duration) -> Result<()> {
        wait_for(&format!("{count} agents"), limit, || {
            let connected = self.agents_connected()?;
            if connected < count {
                anyhow::bail!("{connected} connected");
            }
            Ok(Some(()))
        })
    }

    /// Creates a command for every node and returns its id.
    pub fn run_on_all(&self, text: &str) -> Result<String> {
        let body = json!({ "command_text": text, "targeting": { "type": "all" } });
        let command = self.edge()?.call("POST", "/api/v1/commands", &body)?;
        Ok(command["id"].as_str().context("no id")?.to_owned())
    }

    /// The counts of a command's executions by state.
    pub fn summary(&self, command: &str) -> Result<Value> {
        self.edge()?.get(&format!("/api/v1/commands/{command}/summary"))
    }

    /// Waits until each of the `total` executions of a command is in a final state; the summary.
    pub fn await_end(&self, command: &str, total: u64, limit: Duration) -> Result<Value> {
        wait_for(&format!("the end of {total} executions"), limit, || {
            let summary = self.summary(command)?;
            let count = |name: &str| summary[name].as_u64().unwrap_or(0);
            let ended = count("completed") + count("cancelled") + count("expired");
            if count("total") < total || ended < total {
                anyhow::bail!("{summary}");
            }
            Ok(Some(summary))
        })
    }

    /// Every execution of a command, page by page.
    pub fn executions(&self, command: &str) -> Result<Vec<Value>> {
        let mut edge = self.edge()?;
        let mut all = Vec::new();
        for page in 1.. {
            let path = format!(
                "/api/v1/command_executions?command_id={command}&page_size=100&page={page}&order_by=inserted_at"
            );
            let rows = edge.get(&path)?;
            let rows = rows.as_array().context("not a list")?;
            all.extend(rows.iter().cloned());
            if rows.len() < 100 {
                break;
            }
        }
        Ok(all)
    }
}

/// A running `reeve agent`; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Process,
    binary: PathBuf,
    host: Option<Host>,
    data: PathBuf,
}

impl Agent {
    /// Starts an agent that enrolls with `key`, on a lab's host or on this machine.
    pub fn enroll(binary: &Path, host: Option<&Host>, data: &Path, key: &str) -> Result<Self> {
        Self::spawn(binary, host, data, &["--enroll", key])
    }

    /// `kill -9`, then starts it again from its data directory.
    pub fn kill_and_restart(mut self) -> Result<Self> {
        self.process.kill()?;
        Self::spawn(&self.binary, self.host.as_ref(), &self.data, &[])
    }

    /// The host it runs on.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    fn spawn(binary: &Path, host: Option<&Host>, data: &Path, args: &[&str]) -> Result<Self> {
        fs::create_dir_all(data)?;
        let mut command = host.map_or_else(|| Command::new(binary), |host| host.command(binary));
        // The server's binary is an agent too; the agent's own is nothing else.
        if binary.file_name().is_none_or(|name| name != "reeve-agent") {
            command.arg("agent");
        }
        // Many agents on one machine have one machine id: each takes a random one.
        command.arg("--data").arg(data).args(args).env("USE_RANDOM_ID", "true").env("HOME", "/");
        let process = Process::spawn("reeve agent", &mut command, &log_beside(data))?;
        Ok(Self { process, binary: binary.to_owned(), host: host.cloned(), data: data.to_owned() })
    }
}

/// The log of a process stands beside its data directory: tests fill up data directories.
fn log_beside(data: &Path) -> PathBuf {
    data.with_extension("log")
}
