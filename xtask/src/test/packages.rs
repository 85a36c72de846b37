//! A folder of Debian packages, fetched once, from which tests install software on hosts without a network.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// What tests install on hosts. The hosts see this machine's programs, so what is installed here is there already.
const PACKAGES: &[&str] = &[
    "etcd-server",
    "etcd-client",
    "redis-server",
    "redis-tools",
    "haproxy",
    "docker-registry",
    "containerd",
    "runc",
    "podman",
    "webhook",
    "nfs-ganesha",
    "nfs-ganesha-vfs",
    "postgresql",
    "postgresql-client",
    "iproute2",
    "openssl",
];

/// The folder, filled. apt fetches only what is not in it and not installed.
pub fn prepare() -> Result<PathBuf> {
    let folder = shell::root().join("target/packages");
    std::fs::create_dir_all(folder.join("partial"))?;
    let mut fetch = Command::new("apt-get");
    fetch.args(["-qq", "-y", "--no-install-recommends", "--download-only", "-o", "APT::Sandbox::User=root"]);
    fetch.arg("-o").arg(format!("Dir::Cache::archives={}", folder.display()));
    fetch.arg("install").args(PACKAGES);
    shell::capture(&mut fetch).context("apt-get could not fetch the packages that tests install on hosts")?;
    Ok(folder)
}
