//! What tests take from npm, in `target/node`: libraries of other people that judge ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Packages with their versions. `standardwebhooks` checks the signatures of webhooks, as receivers do.
const PACKAGES: &[&str] = &["standardwebhooks@1.1.1"];

/// Installs the packages, or renews them when the list has changed; returns the folder in which Node finds them.
pub fn prepare() -> Result<PathBuf> {
    let folder = shell::root().join("target/node");
    let (done, wanted) = (folder.join("installed.txt"), PACKAGES.join("\n"));
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    println!("      installing {} from npm into target/node", PACKAGES.join(", "));
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&folder).args(PACKAGES);
    shell::capture(&mut npm).context("npm install failed; is npm's registry in reach?")?;
    fs::write(done, wanted)?;
    Ok(folder)
}
