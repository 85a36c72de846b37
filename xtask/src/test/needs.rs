//! What the tests start that is not ours: found, or installed when we are root on a Debian, or asked for in one message.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::postgres;
use crate::shell;

/// A program, the Debian package that has it, and the stages that want it.
struct Need {
    program: &'static str,
    package: &'static str,
    stages: &'static [&'static str],
}

const NEEDS: &[Need] = &[
    Need { program: "initdb", package: "postgresql", stages: &["services"] },
    Need { program: "psql", package: "postgresql-client", stages: &["e2e"] },
    Need { program: "setpriv", package: "util-linux", stages: &["services", "e2e"] },
    Need { program: "python3", package: "python3", stages: &["services"] },
    Need { program: VENV, package: "python3-venv", stages: &["services"] },
    Need { program: "node", package: "nodejs", stages: &["services"] },
    Need { program: "npm", package: "npm", stages: &["services"] },
    Need { program: "promtool", package: "prometheus", stages: &["tests"] },
    Need { program: "shellcheck", package: "shellcheck", stages: &["tests"] },
    Need { program: "ip", package: "iproute2", stages: &["e2e"] },
    Need { program: "nft", package: "nftables", stages: &["e2e"] },
    Need { program: "mount", package: "mount", stages: &["e2e"] },
    Need { program: SYSTEMD, package: "systemd", stages: &["tests", "e2e"] },
    Need { program: "debootstrap", package: "debootstrap", stages: &["e2e"] },
    Need { program: "sshd", package: "openssh-server", stages: &["e2e"] },
    Need { program: "ssh", package: "openssh-client", stages: &["e2e"] },
    Need { program: "curl", package: "curl", stages: &["e2e"] },
];

/// A part of Python that Debian packs by itself; no program on the path.
const VENV: &str = "python3 -m venv";

/// Process 1 of some hosts; not on the path.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Makes sure that every program the `selected` stages want is there, and that this machine lets them work.
pub fn install(selected: &[&str]) -> Result<()> {
    let missing = missing(selected);
    if !missing.is_empty() {
        apt(&missing)?;
    }
    if selected.contains(&"e2e") {
        namespaces()?;
    }
    Ok(())
}

/// Installs the packages of those programs that are not there yet.
pub fn apt_missing(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !shell::has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { apt(&missing) }
}

/// Installs Debian packages, or says which to install.
fn apt(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !shell::has("apt-get") {
        bail!("missing: install what Debian calls {list}");
    }
    if !shell::is_root() {
        bail!("missing: run `sudo apt-get install -y {list}`, or run this as root");
    }
    println!("      installing {list}");
    let get = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "DPkg::Lock::Timeout=120"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        shell::capture(&mut command)
    };
    get(&["update"]).context("apt-get update failed; is a Debian mirror in reach?")?;
    let install: Vec<&str> =
        ["install", "-y", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    get(&install)?;
    Ok(())
}

fn missing(selected: &[&str]) -> Vec<&'static str> {
    let wanted = NEEDS.iter().filter(|need| need.stages.iter().any(|stage| selected.contains(stage)));
    let mut packages: Vec<_> = wanted.filter(|need| !present(need.program)).map(|need| need.package).collect();
    packages.dedup();
    packages
}

fn present(program: &str) -> bool {
    match program {
        "initdb" => postgres::folder().is_some(),
        VENV => shell::capture(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok(),
        SYSTEMD => std::path::Path::new(SYSTEMD).exists(),
        program => shell::has(program),
    }
}

/// The end-to-end tests make network namespaces; a container often forbids it.
fn namespaces() -> Result<()> {
    let unshare = || {
        shell::capture(
            Command::new("unshare").args(["--net", "--mount", "ip", "link", "add", "probe0", "type", "bridge"]),
        )
    };
    if !shell::is_root() {
        bail!(
            "the e2e stage makes network namespaces and mounts: run it as root (`sudo -E cargo xtask test --only e2e`)"
        );
    }
    unshare()
        .context("root here may not make network namespaces: the e2e stage needs CAP_SYS_ADMIN and CAP_NET_ADMIN")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_without_programs_need_nothing() {
        assert_eq!(missing(&["fmt", "clippy"]), Vec::<&str>::new());
    }
}
