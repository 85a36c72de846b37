//! The Python that `cargo xtask test` prepares, with the packages of `xtask/requirements.txt`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Where `cargo xtask test` says its Python is.
const PYTHON: &str = "REEVE_TEST_PYTHON";

fn interpreter() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let found = std::env::var_os(PYTHON).map_or(usual, PathBuf::from);
    assert!(found.exists(), "no Python with the test packages: run `cargo xtask test --only needs --only tests` once");
    found
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// Runs a script to its end on a thread of its own; panics with what it said when it fails.
pub async fn run(name: &'static str, arguments: Vec<String>) {
    let output = tokio::task::spawn_blocking(move || {
        Command::new(interpreter()).arg(script(name)).args(arguments).stdin(Stdio::null()).output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).trim_end().ends_with("ok"), "{name}: {}", text(&output.stdout));
}

/// A script that serves until this process ends: then its standard input does.
pub struct Served {
    /// What it printed first.
    pub port: u16,
    _input: ChildStdin,
    _process: Child,
}

pub fn serve(name: &str) -> Served {
    let mut command = Command::new(interpreter());
    let mut process = command.arg(script(name)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| panic!("{name} did not start: {line}"));
    Served { port, _input: process.stdin.take().unwrap(), _process: process }
}
