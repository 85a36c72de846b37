//! `k3s`, `kubectl` and `cilium` for machines that have none: which of them it is, is told by the name it is called by.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    reeve_simulators::k3s::main(&words)
}
