//! Becomes a local host, for tests of this crate. The server has the same as a hidden command.

use std::process::ExitCode;

fn main() -> ExitCode {
    reeve_provider_local::inside::main(std::env::args_os().skip(1))
}
