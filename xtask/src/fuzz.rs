//! `cargo xtask fuzz SURFACE`: schemathesis against a real server process on SQLite with a few simulated agents. It reads
//! the surface's published OpenAPI document, makes up requests that fit it and requests that do not, chains them
//! (what one answers goes into the next), and holds every answer to the document. Once with the master key, once without
//! any. `cargo xtask test` does the same with few requests.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::{Process, Server, ServerOptions};
use serde_json::json;

use crate::{shell, test, up};

/// What an answer is held to. A 429 to made-up credentials is documented, so refusals are counted as statuses and not by
/// schemathesis's own idea of them (`ignored_auth`); that every route asks for a credential is the table tests' business.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,use_after_free";
/// Nobody is to stay nobody, rather than to sign up by itself. And one documented answer is a 5xx, as in the published API:
/// what nobody measures.
const CONFIG: &str = r#"
[auth]
auto-signup = false

[[operations]]
include-path-regex = "/metrics/[a-z]+/raw$"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"#;
/// What is not made up: it would have the server write into any folder of this machine. Its own tests try it.
const LEFT_OUT: [&str; 1] = ["backups.schedule.set"];
/// Seconds of one round with many requests; a round begins with another seed.
const ROUND_SECONDS: u64 = 60;
/// Agents, so that there are nodes to ask for.
const AGENTS: u64 = 8;
/// Surfaces that `cargo xtask test` tries.
const SURFACES: [&str; 3] = ["edge", "console", "provisioning"];

#[derive(clap::Args)]
pub struct Args {
    /// The surface, by the name of its listener: edge, console, provisioning
    surface: String,
    /// Go on with further seeds until the server has answered this many requests with the key
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let python = test::python()?;
    let binary = up::reeve("dev")?;
    let range = Range { python: &python, binary: &binary, surface: &args.surface, examples: None };
    let Outcome { answered, failed } = range.fuzz(args.seed, args.requests)?;
    println!("{}: {answered} requests answered, {failed} rounds with findings", args.surface);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bounded run with a fixed seed over every surface.
pub fn briefly(python: &Path, binary: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for surface in SURFACES {
        let range = Range { python, binary, surface, examples: Some(1) };
        let outcome = range.fuzz(1, 1)?;
        println!("      {surface}: {} requests answered", outcome.answered);
        if outcome.failed > 0 {
            failed.push(surface);
        }
    }
    if !failed.is_empty() {
        bail!("schemathesis found something on {} (above)", failed.join(", "));
    }
    Ok(())
}

struct Range<'a> {
    python: &'a Path,
    binary: &'a Path,
    surface: &'a str,
    /// Examples of each operation; None is as many as fit into a round.
    examples: Option<u64>,
}

struct Outcome {
    answered: u64,
    failed: usize,
}

impl Range<'_> {
    /// Rounds with the key until `requests` were answered, then one without.
    fn fuzz(&self, seed: u64, requests: u64) -> Result<Outcome> {
        let folder = tempfile::Builder::new().prefix("reeve-fuzz-").tempdir()?;
        let mut server = Server::start(&ServerOptions {
            binary: self.binary.to_owned(),
            data: folder.path().join("data"),
            agents: "127.0.0.1:0".to_owned(),
            environment: vec![
                ("REEVE_LOG".to_owned(), "info".to_owned()),
                ("REEVE_REQUESTS_PER_SECOND".to_owned(), "0".to_owned()),
            ],
        })?;
        let _simulator = self.agents(&server, folder.path())?;
        let backups = json!({
            "cron": "@yearly", "to": folder.path().join("backups"), "passphrase": "of nobody's business",
        });
        server.console()?.call("PUT", "/api/backups/schedule", &backups)?;
        fs::write(folder.path().join("schemathesis.toml"), CONFIG)?;
        let (mut failed, mut round) = (0, 0);
        let answered = loop {
            failed += usize::from(!self.round(&server, folder.path(), seed + round, true)?);
            round += 1;
            let answered = answered(&server, self.surface)?;
            if answered >= requests {
                break answered;
            }
        };
        failed += usize::from(!self.round(&server, folder.path(), seed, false)?);
        server.process.must_run()?;
        if let Some(line) = server.process.output().lines().find(|line| line.contains("panicked")) {
            bail!("the server's log has a panic: {line}");
        }
        Ok(Outcome { answered, failed })
    }

    /// One run of schemathesis; true when it found nothing. What it says is kept under `target/fuzz`.
    fn round(&self, server: &Server, folder: &Path, seed: u64, with_key: bool) -> Result<bool> {
        let url = server.url(self.surface)?.trim_end_matches('/').to_owned();
        let mut command = Command::new(self.python.with_file_name("st"));
        command.args(["run", &format!("{url}/api/openapi"), "--checks", CHECKS, "--seed", &seed.to_string()]);
        command.args(["--request-timeout", "10", "--generation-database", "none", "--continue-on-failure"]);
        command.args(["--no-color", "--warnings", "off"]);
        for operation in LEFT_OUT {
            command.args(["--exclude-operation-id", operation]);
        }
        match (self.examples, with_key) {
            (Some(examples), true) => command.args(["--max-examples", &examples.to_string()]),
            // Refusals are all alike: a few of each.
            (Some(_), false) => command.args(["--phases", "fuzzing", "--max-examples", "3"]),
            (None, true) => command.args(["--max-time", &ROUND_SECONDS.to_string()]),
            (None, false) => command.args(["--max-examples", "10"]),
        };
        if with_key {
            command.args(["--header", &format!("Authorization: Bearer {}", server.master_key())]);
        }
        let begun = Instant::now();
        let output = command.current_dir(folder).env("PYTHONUNBUFFERED", "1").stdin(Stdio::null()).output();
        let output = output.context("cannot start schemathesis (st)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let logs = shell::root().join("target/fuzz");
        fs::create_dir_all(&logs)?;
        let who = if with_key { "key" } else { "nobody" };
        let log = logs.join(format!("{}-{who}-{seed}.log", self.surface));
        fs::write(&log, text.as_bytes())?;
        let count = text.lines().find(|line| line.contains(" generated")).unwrap_or("nothing was generated").trim();
        let secs = begun.elapsed().as_secs();
        println!("      {} as {who}, seed {seed}: {count} ({secs} s)", self.surface);
        if output.status.success() {
            return Ok(true);
        }
        let findings = text.find("= FAILURES").or_else(|| text.find("= ERRORS")).unwrap_or(0);
        println!("{}", &text[findings..]);
        println!("{}", String::from_utf8_lossy(&output.stderr));
        println!("      the whole of it is in {}", log.display());
        Ok(false)
    }

    fn agents(&self, server: &Server, folder: &Path) -> Result<Process> {
        let key = server.enrollment_key("simulated")?;
        let mut command = Command::new(self.binary);
        command.args(["simulate", "agents", "--count", &AGENTS.to_string(), "--key", &key]);
        let process = Process::spawn("reeve simulate", &mut command, &folder.join("simulate.log"))?;
        server.await_agents(AGENTS, Duration::from_secs(60))?;
        Ok(process)
    }
}

/// Requests that the server has answered on a surface.
fn answered(server: &Server, surface: &str) -> Result<u64> {
    let text = server.console()?.send("GET", "/metrics", None)?.text();
    let of_surface = format!("surface=\"{surface}\"");
    let lines = text.lines().filter(|l| l.starts_with("reeve_http_requests_total") && l.contains(&of_surface));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
