//! How the binary mounts the client's commands beside its own; also a client on its own for trying things out.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use reeve_cli::ClientCommand;

/// One control plane from the bare server to the running app
#[derive(Parser)]
#[command(name = "reeve", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Client(ClientCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Program::parse().command {
        // `doctor --local` is answered by the binary itself: see `ClientCommand::local_doctor`.
        Command::Client(command) => reeve_cli::run(command, Program::command()).await,
    }
}
