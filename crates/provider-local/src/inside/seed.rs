//! What a host gets of its own at its first start, and what it must not see of this machine.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::mounts::dir;
use super::{Boot, Result, systemd, tried};
use crate::record::write_whole;

const INIT: &str = include_str!("init.sh");
const SSHD: &str = include_str!("sshd_config");

/// Settings of this machine that are secrets or belong to it alone: files and whole folders.
const MASKED: [&str; 12] = [
    "etc/shadow-",
    "etc/gshadow",
    "etc/gshadow-",
    "etc/reeve",
    "etc/letsencrypt",
    "etc/wireguard",
    "etc/krb5.keytab",
    "etc/NetworkManager/system-connections",
    "etc/netplan",
    "etc/crypttab",
    "etc/fstab",
    "etc/machine-id",
];

/// Writes what belongs to the host. What its owner changed later stays.
pub fn first_start(folder: &Path, root: &Path, boot: &Boot) -> Result<()> {
    let write = |name: &str, text: &str, mode: u32| {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            dir(parent, 0o755)?;
        }
        write_whole(&path, text.as_bytes(), mode).map_err(|error| error.to_string())
    };
    write(".reeve/init", INIT, 0o700)?;
    write(".reeve/sshd_config", SSHD, 0o600)?;
    if root.join(".reeve/seeded").exists() {
        return Ok(());
    }
    mask(root)?;
    if boot.systemd {
        systemd::first_start(root)?;
    }
    let name = boot.hostname.as_str();
    let short = name.split('.').next().unwrap_or_default();
    write("etc/hostname", &format!("{short}\n"), 0o644)?;
    let names = if short == name { name.to_owned() } else { format!("{name} {short}") };
    write(
        "etc/hosts",
        &format!("127.0.0.1 localhost\n{} {names}\n::1 localhost ip6-localhost\n", boot.address),
        0o644,
    )?;
    // Not a link to a resolver of this machine's own, which nobody reaches from inside.
    let servers =
        ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"].iter().find_map(|p| fs::read_to_string(p).ok());
    write("etc/resolv.conf", &servers.unwrap_or_default(), 0o644)?;
    let id = hex::encode(&Sha256::digest(folder.as_os_str().as_encoded_bytes())[..16]);
    write("etc/machine-id", &format!("{id}\n"), 0o444)?;
    // Nobody has a password; `*`, unlike `!`, lets keys in.
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let locked: String = users
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(|user| format!("{user}:*:19000:0:99999:7:::\n"))
        .collect();
    write("etc/shadow", &locked, 0o640)?;
    dir(&root.join("root/.ssh"), 0o700)?;
    for (from, to, mode) in
        [("authorized_keys", "root/.ssh/authorized_keys", 0o600), ("user-data", ".reeve/user-data", 0o700)]
    {
        match fs::read_to_string(folder.join(from)) {
            Ok(text) => write(to, &text, mode)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{from}: {error}")),
        }
    }
    write(".reeve/seeded", "", 0o600)?;
    // It may hold a secret, and the host has it.
    fs::remove_file(folder.join("user-data")).ok();
    Ok(())
}

fn mask(root: &Path) -> Result<()> {
    let mut paths: Vec<_> = MASKED.iter().map(|name| root.join(name)).collect();
    let below = |folder: &str, pick: fn(&str) -> bool| {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        entries.filter(move |entry| entry.file_name().to_str().is_some_and(pick)).map(|entry| entry.path())
    };
    paths.extend(below("etc/ssh", |name| name.starts_with("ssh_host_")));
    paths.extend(below("etc/ssl/private", |name| name != "ssl-cert-snakeoil.key"));
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let removed = if metadata.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        tried(path.display())(removed)?;
    }
    Ok(())
}
