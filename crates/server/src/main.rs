//! The binary `reeve`: server, agent and command-line client in one.

mod agent;
mod backup;
mod bench_jobs;
mod config;
mod data_dir;
mod dev;
mod doctor;
mod environment;
mod say;
mod seal_keys;
mod seams;
mod serve;
mod shared;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// One control plane from the bare server to the running app
#[derive(Parser)]
#[command(name = "reeve", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on this machine: server, first admin, one enrolled agent
    Up(config::ServeArgs),
    /// Start the server only
    Serve(config::ServeArgs),
    /// Join this machine to a server, or keep it joined
    Agent(agent::AgentArgs),
    /// Rehearse with virtual agents that speak the real protocol
    #[command(subcommand)]
    Simulate(agent::SimulateCommand),
    /// Bring the database's schema up to date and stop
    Migrate(config::ServeArgs),
    /// Fill a store for measurements
    #[command(subcommand, hide = true)]
    Dev(dev::DevCommand),
    #[command(flatten)]
    Client(reeve_cli::ClientCommand),
}

fn main() -> ExitCode {
    // A local host starts as this very program, and is no command for people.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == reeve_provider_local::Settings::WORD) {
        return reeve_provider_local::inside::main(args);
    }
    let program = Program::parse();
    // The agent brings a runtime of its own, smaller than a server's.
    if let Command::Agent(args) = program.command {
        return agent::main(args);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        say::error("the TLS provider was installed twice");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::error(&format!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(program.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Up(args) => up::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Migrate(args) => serve::migrate(args).await,
        Command::Simulate(command) => agent::simulate(command).await,
        Command::Dev(command) => dev::run(command).await,
        Command::Agent(_) => Ok(()),
        Command::Client(command) => {
            if let Some(args) = command.local_doctor() {
                return doctor::run_locally(args.data.clone()).await;
            }
            if let Some((verb, format)) = command.local_backup() {
                return backup::run(verb, format).await;
            }
            return reeve_cli::run(command, Program::command()).await;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&say::causes(&error));
            ExitCode::FAILURE
        }
    }
}
