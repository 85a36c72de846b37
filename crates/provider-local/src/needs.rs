//! What this machine must have, and what to install where it is missing.

use std::path::Path;

use reeve_ports::{CloudError, CloudErrorKind};

use crate::Settings;
use crate::program::exists;

/// Programs, with the Debian package that has them.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
];

/// State with everything that is missing.
pub fn check(settings: &Settings) -> Result<(), CloudError> {
    let mut problems = Vec::new();
    if !rustix::process::geteuid().is_root() {
        problems.push("root is needed to make network namespaces and mounts: run `reeve serve` as root".to_owned());
    }
    let mut packages: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| !exists(program)).map(|(_, p)| *p).collect();
    if settings.egress && !exists("nft") {
        packages.push("nftables");
    }
    packages.dedup();
    if !packages.is_empty() {
        problems.push(format!("programs are missing: `apt-get install {}`", packages.join(" ")));
    }
    let spaces: Vec<&str> = ["net", "mnt", "pid", "uts", "ipc"]
        .into_iter()
        .filter(|kind| !Path::new("/proc/self/ns").join(kind).exists())
        .collect();
    if !spaces.is_empty() {
        problems.push(format!("the kernel has no {} namespaces", spaces.join(", ")));
    }
    let systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
        && !Path::new("/sys/module/overlay").exists()
    {
        problems.push("the kernel has no overlayfs: `modprobe overlay`".to_owned());
    }
    let folder = settings.folder.to_string_lossy();
    if !folder.starts_with('/') || folder.contains([',', ':', '\\']) {
        problems.push(format!("hosts cannot be kept in {folder:?}: an absolute path without , : and \\ is needed"));
    }
    if let Some(packages) = settings.packages.as_ref().filter(|path| !path.is_dir()) {
        problems.push(format!("the folder of packages {} does not exist", packages.display()));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(CloudError::new(CloudErrorKind::State, format!("local hosts cannot be made here: {}", problems.join("; ")))
        .with_code("LOCAL_NOT_READY"))
}
