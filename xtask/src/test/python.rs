//! A Python of our own under `target/python`, with the packages of `xtask/requirements.txt`: clients and servers of other
//! people that judge ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Makes the environment, or renews it when the list of packages has changed; returns its interpreter.
pub fn prepare() -> Result<PathBuf> {
    let list = shell::root().join("xtask/requirements.txt");
    let wanted = fs::read_to_string(&list)?;
    let folder = shell::root().join("target/python");
    let interpreter = folder.join("bin/python");
    let done = folder.join("installed.txt");
    if interpreter.exists() && fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    println!("      installing the packages of xtask/requirements.txt into target/python");
    let python = shell::find("python3").context("no python3 found; run `cargo xtask test --only needs`")?;
    shell::capture(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))
        .context("cannot make a virtual environment; Debian has the module in python3-venv")?;
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&list);
    shell::capture(&mut pip).context("pip install failed; is a package index in reach?")?;
    fs::write(done, wanted)?;
    Ok(interpreter)
}
