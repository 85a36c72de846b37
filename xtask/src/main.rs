//! Developer tasks: `cargo xtask test`, `up`, `tidy`, `bench`, `fuzz`, `new-migration`. Nothing of the product lives here, and
//! nothing here is linked into it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a task talks to the person who typed it
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod fuzz;
mod migration;
mod shell;
mod soak;
mod test;
mod tidy;
mod up;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Reeve's developer tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check and test everything; installs or starts what the tests need
    Test(test::Args),
    /// Build the binary and run `reeve up` with the arguments given after `--`
    Up(up::Args),
    /// Check the rules that the compiler does not: crate directions, file lengths, licences, migrations
    Tidy(tidy::Args),
    /// Measure, and print the figure beside its target
    Bench(bench::Args),
    /// Kill the server at random moments under load, and look for what was lost or done twice
    Soak(soak::Args),
    /// Let schemathesis make up requests to a surface, and hold every answer to its OpenAPI document
    Fuzz(fuzz::Args),
    /// Create the pair of files of the next migration
    NewMigration(migration::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Up(args) => up::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::NewMigration(args) => migration::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
