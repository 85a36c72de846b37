//! `cargo xtask up`: builds the binary (cargo shows its own progress) and becomes `reeve up`, so that Ctrl-C and the
//! exit code are the server's own.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::shell;

#[derive(clap::Args)]
pub struct Args {
    /// Build with optimisation: slower to build, faster to run
    #[arg(long)]
    release: bool,
    /// Passed to `reeve up`: --data DIR, --listen SURFACE=ADDR, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let profile = if args.release { "release" } else { "dev" };
    eprintln!("building reeve ({profile}); the first time takes a few minutes, after that seconds");
    let binary = reeve(profile)?;
    let error = Command::new(&binary).arg("up").args(&args.args).exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

/// Builds executables and returns their paths by name. Compiler output and cargo's progress bar go to the terminal.
pub fn build(targets: &[&str], profile: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--profile", profile, "--message-format=json-render-diagnostics"]);
    let output = cargo.args(targets).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the build failed; the compiler's message stands above");
    }
    let mut found = BTreeMap::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(path) = artifact.executable
        {
            found.insert(artifact.target.name, path.into_std_path_buf());
        }
    }
    Ok(found)
}

/// Builds the binary `reeve`.
pub fn reeve(profile: &str) -> Result<PathBuf> {
    build(&["--bin", "reeve"], profile)?.remove("reeve").context("cargo built no reeve")
}
