//! `cargo xtask up`: builds the binary (cargo shows its own progress) and becomes `reeve up`, so that Ctrl-C and the
//! exit code are the server's own.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

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
    let binary = build(&["--bin", "reeve"], profile)?;
    let error = Command::new(&binary).arg("up").args(&args.args).exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

/// Builds one binary in `profile` and returns its path. Compiler output and cargo's progress bar go to the terminal.
pub fn build(target: &[&str], profile: &str) -> Result<std::path::PathBuf> {
    let mut cargo = shell::cargo();
    cargo
        .args([
            "build",
            "--profile",
            profile,
            "--message-format=json-render-diagnostics",
        ])
        .args(target);
    let output = cargo
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        anyhow::bail!("the build failed; the compiler's message stands above");
    }
    let messages = cargo_metadata::Message::parse_stream(output.stdout.as_slice());
    let mut found = None;
    for message in messages {
        if let cargo_metadata::Message::CompilerArtifact(artifact) = message?
            && let Some(path) = artifact.executable
        {
            found = Some(path.into_std_path_buf());
        }
    }
    found.context("cargo built no executable")
}
