//! `reeve completions`.

use clap::Args;
use clap_complete::Shell;

use crate::failure::{OK, Outcome};
use crate::world::World;

/// A completion script.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `reeve completions`.
pub fn run(args: &Completions, world: &mut World, mut program: clap::Command) -> Outcome<u8> {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    world.out.raw(&String::from_utf8_lossy(&script))?;
    Ok(OK)
}
