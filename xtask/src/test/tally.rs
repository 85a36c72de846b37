//! Counts what `cargo test` reports while its output passes through.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Tests that passed and failed so far.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// Test results seen; a run without any has not tested anything.
    results: u64,
}

impl Tally {
    /// Runs a test command, shows its lines as they come, and adds them up.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        let (failed, results) = (self.failed, self.results);
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.line(&line);
        }
        let status = child.wait()?;
        if self.failed > failed {
            bail!("{} tests failed, listed above", self.failed - failed);
        }
        if !status.success() {
            bail!("cargo test ended with {status}");
        }
        if self.results == results {
            bail!("cargo test ran nothing");
        }
        Ok(())
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
    fn line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let count = |word: &str| {
            let before = counts.split(word).next().unwrap_or_default();
            before
                .rsplit([' ', ';', '.'])
                .find(|part| !part.is_empty())
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.results += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        tally.line("running 4 tests");
        tally.line("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.line("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s");
        assert_eq!(tally, Tally { passed: 15, failed: 2, results: 2 });
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        let error = Tally::default().run(Command::new("true").arg("x")).unwrap_err();
        assert_eq!(error.to_string(), "cargo test ran nothing");
    }
}
