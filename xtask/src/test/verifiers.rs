//! Two libraries of Standard Webhooks that others wrote, one from PyPI and one from npm: what we sign is checked with what
//! receivers check it with. They are installed into `target/test-verifiers`, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Both packages are called so.
const PACKAGE: &str = "standardwebhooks";
const PYPI: &str = "1.1.0";
const NPM: &str = "1.1.1";

/// Where the tests find them.
pub fn folder() -> PathBuf {
    shell::root().join("target/test-verifiers")
}

/// Installs what is missing.
pub fn install() -> Result<()> {
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    if !installed(&folder.join("python"), PYPI) {
        python(&folder).context("the Python library standardwebhooks cannot be installed; is PyPI in reach?")?;
        note(&folder.join("python"), PYPI)?;
    }
    if !installed(&folder.join("node"), NPM) {
        node(&folder).context("the Node library standardwebhooks cannot be installed; is npm's registry in reach?")?;
        note(&folder.join("node"), NPM)?;
    }
    Ok(())
}

fn python(folder: &Path) -> Result<()> {
    let venv = folder.join("python");
    if venv.exists() {
        std::fs::remove_dir_all(&venv)?;
    }
    println!("      installing {PACKAGE} {PYPI} from PyPI");
    shell::capture(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = venv.join("bin/pip");
    shell::capture(Command::new(pip).args(["install", "--quiet", &format!("{PACKAGE}=={PYPI}")]))?;
    Ok(())
}

fn node(folder: &Path) -> Result<()> {
    let folder = folder.join("node");
    std::fs::create_dir_all(&folder)?;
    println!("      installing {PACKAGE} {NPM} from npm");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&folder);
    shell::capture(npm.arg(format!("{PACKAGE}@{NPM}")))?;
    Ok(())
}

fn installed(folder: &Path, version: &str) -> bool {
    std::fs::read_to_string(folder.join("installed")).is_ok_and(|there| there == version)
}

fn note(folder: &Path, version: &str) -> Result<()> {
    Ok(std::fs::write(folder.join("installed"), version)?)
}
