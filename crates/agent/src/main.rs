//! The stand-alone agent.

use std::io::Write;
use std::process::ExitCode;

use reeve_agent::{Invocation, Options, USAGE, VERSION};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let text = match Options::parse(std::env::args().skip(1), &env) {
        Ok(Invocation::Run(options)) => return reeve_agent::main(*options),
        Ok(Invocation::Help) => USAGE.to_owned(),
        Ok(Invocation::Version) => format!("reeve-agent {VERSION}\n"),
        Err(error) => {
            return match writeln!(std::io::stderr(), "reeve-agent: {error}") {
                Ok(()) | Err(_) => ExitCode::from(2),
            };
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
