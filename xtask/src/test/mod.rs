//! `cargo xtask test`: everything that must hold before a change lands, in stages, from cheap to dear. A stage that
//! cannot run here fails and says what is missing: nothing is skipped in silence.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use console::style;

use crate::{fuzz, shell, tidy, up};

mod needs;
mod node;
mod packages;
mod postgres;
mod python;
mod s3;
mod tally;

pub use needs::apt_missing;
use postgres::Postgres;
use s3::S3;
use tally::Tally;

#[derive(clap::Args)]
pub struct Args {
    /// Run only these stages (repeatable): needs, fmt, tidy, clippy, services, tests, doc, fuzz, e2e
    #[arg(long, value_name = "STAGE", value_parser = clap::builder::PossibleValuesParser::new(STAGES.iter().map(|s| s.name)))]
    only: Vec<String>,
    /// Go on after a stage has failed
    #[arg(long)]
    keep_going: bool,
    /// Only tests whose name contains this (stages tests, doc and e2e)
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

struct Stage {
    name: &'static str,
    about: &'static str,
    /// What must have run before, even when only this stage was asked for.
    after: &'static [&'static str],
    run: fn(&mut Session) -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage { name: "needs", about: "programs that the tests start", after: &[], run: install },
    Stage { name: "fmt", about: "formatting", after: &[], run: fmt },
    Stage { name: "tidy", about: "the house rules", after: &[], run: tidy },
    Stage { name: "clippy", about: "lints, warnings denied", after: &[], run: clippy },
    Stage {
        name: "services",
        about: "a PostgreSQL, an S3 server, a Python and a Node of our own",
        after: &["needs"],
        run: services,
    },
    Stage { name: "tests", about: "unit and integration tests", after: &["needs", "services"], run: tests },
    Stage { name: "doc", about: "examples in the docs", after: &[], run: doc },
    Stage {
        name: "fuzz",
        about: "schemathesis over the surfaces' documents",
        after: &["needs", "services"],
        run: fuzz,
    },
    Stage { name: "e2e", about: "real processes in network namespaces", after: &["needs", "services"], run: e2e },
];

/// What the stages share.
struct Session {
    selected: Vec<&'static str>,
    filter: Option<String>,
    postgres: Option<Postgres>,
    /// The interpreter with the packages that tests need.
    python: Option<PathBuf>,
    node: Option<PathBuf>,
    s3: Option<S3>,
    /// Debian packages for hosts.
    packages: Option<PathBuf>,
    tally: Tally,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let stages = select(&args.only);
    let mut session = Session {
        selected: stages.iter().map(|stage| stage.name).collect(),
        filter: args.filter.clone(),
        postgres: None,
        python: None,
        node: None,
        s3: None,
        packages: None,
        tally: Tally::default(),
    };
    let started = Instant::now();
    let mut failed = Vec::new();
    let mut durations = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        println!(
            "{} {} ({})",
            style(format!("[{}/{}]", index + 1, stages.len())).bold(),
            style(stage.name).bold(),
            stage.about
        );
        let begun = Instant::now();
        let result = (stage.run)(&mut session);
        let took = begun.elapsed();
        durations.push((stage.name, took));
        match result {
            Ok(()) => println!("      {} {} in {}", style("ok").green(), stage.name, seconds(took)),
            Err(error) => {
                println!("      {} {} after {}: {error:#}", style("FAILED").red(), stage.name, seconds(took));
                failed.push(stage.name);
                if !args.keep_going {
                    break;
                }
            }
        }
    }
    if let Some(postgres) = session.postgres.take() {
        postgres.stop()?;
    }
    let times: Vec<String> = durations.iter().map(|(name, took)| format!("{name} {}", seconds(*took))).collect();
    println!("stages: {}; {} in all", times.join(", "), seconds(started.elapsed()));
    if !failed.is_empty() {
        println!("failed stages: {} (again: cargo xtask test --only {})", failed.join(", "), failed.join(" --only "));
    }
    println!("{} passed, {} failed", session.tally.passed, session.tally.failed);
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stages asked for with what they come after, in order; all of them when none is named.
fn select(only: &[String]) -> Vec<&'static Stage> {
    let asked = |stage: &Stage| only.is_empty() || only.iter().any(|name| name == stage.name);
    let wanted: Vec<&str> = STAGES.iter().filter(|stage| asked(stage)).flat_map(|stage| stage.after).copied().collect();
    STAGES.iter().filter(|stage| asked(stage) || wanted.contains(&stage.name)).collect()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn install(session: &mut Session) -> Result<()> {
    needs::install(&session.selected)
}

fn fmt(_: &mut Session) -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
}

fn tidy(_: &mut Session) -> Result<()> {
    match tidy::findings(&shell::root(), false)? {
        0 => Ok(()),
        n => bail!("{n} findings, listed above"),
    }
}

fn clippy(_: &mut Session) -> Result<()> {
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // The end-to-end tests are no default target, because they need root: name them.
    shell::run(shell::cargo().args(["clippy", "-p", "reeve-lab", "--test", "e2e", "--", "-D", "warnings"]))
}

fn services(session: &mut Session) -> Result<()> {
    let postgres = Postgres::start()?;
    println!("      PostgreSQL {} on port {}", postgres.version, postgres.port);
    session.postgres = Some(postgres);
    let python = python::prepare()?;
    session.node = Some(node::prepare()?);
    let s3 = S3::start(&python)?;
    session.python = Some(python);
    println!("      S3 (SeaweedFS) on port {}", s3.port);
    session.s3 = Some(s3);
    if session.selected.contains(&"e2e") {
        session.packages = Some(packages::prepare()?);
    }
    Ok(())
}

fn tests(session: &mut Session) -> Result<()> {
    session.cargo_test(&["--workspace", "--lib", "--bins", "--tests", "--examples", "--no-fail-fast"], &[])
}

fn doc(session: &mut Session) -> Result<()> {
    session.cargo_test(&["--workspace", "--doc", "--no-fail-fast"], &[])
}

fn fuzz(session: &mut Session) -> Result<()> {
    let binary = up::reeve("dev")?;
    let python = session.python.as_deref().context("the stage `services` made no Python")?;
    fuzz::briefly(python, &binary)
}

/// The interpreter with the packages that tests need, made where it is not there.
pub fn python() -> Result<PathBuf> {
    python::prepare()
}

fn e2e(session: &mut Session) -> Result<()> {
    let mut built = up::build(&["--bin", "reeve", "--bin", "reeve-agent"], "dev")?;
    let (binary, agent) =
        (built.remove("reeve").context("no reeve")?, built.remove("reeve-agent").context("no agent")?);
    let simulators = up::build(&["-p", "reeve-simulators", "--bins"], "dev")?;
    let simulator = |name: &str| {
        let path = simulators.get(name).with_context(|| format!("cargo built no {name}"))?;
        anyhow::Ok(path.to_string_lossy().into_owned())
    };
    // The real ones take their place where somebody has them.
    let or_simulator = |variable: &str| std::env::var(variable).map_or_else(|_| simulator("k3s-simulator"), Ok);
    // One at a time: each test starts hundreds of processes and measures what happens to them.
    session.cargo_test(
        &["-p", "reeve-lab", "--test", "e2e", "--", "--test-threads=1", "--nocapture"],
        &[
            ("REEVE_BIN", binary.to_string_lossy().into_owned()),
            ("REEVE_AGENT_BIN", agent.to_string_lossy().into_owned()),
            ("REEVE_TEST_CLOUD_SIMULATOR", simulator("cloud-simulator")?),
            ("REEVE_TEST_K3S", or_simulator("REEVE_TEST_K3S")?),
            ("REEVE_TEST_CILIUM", or_simulator("REEVE_TEST_CILIUM")?),
        ],
    )
}

impl Session {
    /// Runs `cargo test` with the services' addresses in its environment, shows its output and counts.
    fn cargo_test(&mut self, args: &[&str], environment: &[(&str, String)]) -> Result<()> {
        let mut cargo = shell::cargo();
        let (before, after) = args.split_at(args.iter().position(|arg| *arg == "--").unwrap_or(args.len()));
        cargo.arg("test").args(before).args(&self.filter).args(after).envs(environment.iter().cloned());
        if let Some(postgres) = &self.postgres {
            cargo.env("REEVE_TEST_POSTGRES_URL", postgres.url());
        }
        if let Some(python) = &self.python {
            cargo.env("REEVE_TEST_PYTHON", python);
        }
        if let Some(node) = &self.node {
            cargo.env("REEVE_TEST_NODE_FOLDER", node);
        }
        if let Some(packages) = &self.packages {
            cargo.env("REEVE_TEST_PACKAGES", packages);
        }
        if let Some(s3) = &self.s3 {
            cargo.env("REEVE_TEST_S3_URL", s3.url());
        }
        self.tally.run(&mut cargo)
    }
}

#[cfg(test)]
mod tests_of_stages {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        select(&only).iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn a_stage_brings_what_it_comes_after() {
        assert_eq!(names(&["tests"]), ["needs", "services", "tests"]);
        assert_eq!(names(&["clippy", "fmt"]), ["fmt", "clippy"]);
        assert_eq!(names(&[]).len(), STAGES.len());
    }
}
