//! `reeve server ssh`: a shell on a server, with a key of its own for this once.

use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::process::Command;

use super::server::KIND;
use crate::Session;
use crate::api::Api;
use crate::failure::{Failure, Outcome};
use crate::human::parse_duration;
use crate::view::text;

/// Open a shell, or run a command.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The key pair is made here, lives in a private folder until the session ends, and opens the server until \
it expires.\n\nExamples:\n  reeve server ssh web-1\n  reeve server ssh web-1 -- systemctl status nginx\n  \
reeve server ssh web-1 --key ~/.ssh/id_ed25519.pub --for 8h"
)]
pub struct Ssh {
    /// The server, by hostname or id
    server: String,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
    /// Let this public key in instead of making one, and open no session
    #[arg(long, value_name = "FILE")]
    key: Option<std::path::PathBuf>,
    /// How long the key opens the server
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    life: Duration,
}

/// Runs `reeve server ssh`; the exit code is that of `ssh`.
#[allow(clippy::disallowed_methods)] // ssh and ssh-keygen of whoever typed the command
pub async fn run(args: Ssh, session: &mut Session<'_>, api: &Api) -> Outcome<u8> {
    let path = format!("{}/ssh", KIND.path(api, &args.server).await?);
    let allow = async |public_key: &str| {
        api.post(&path, &json!({ "public_key": public_key.trim(), "ttl_seconds": args.life.as_secs() })).await
    };
    if let Some(file) = &args.key {
        let access = allow(&read(file)?).await?;
        let words = format!(
            "{} may log in until {}\nnext:  ssh -p {} {}@{}",
            file.display(),
            text(&access, "expires_at"),
            text(&access, "port"),
            text(&access, "user"),
            text(&access, "address")
        );
        return session.told(&text(&access, "address"), &access, &words);
    }
    // Gone with everything in it when the session is over.
    let folder = tempfile::Builder::new().prefix("reeve-ssh-").tempdir()?;
    let key = folder.path().join("key");
    program(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "reeve"]).arg("-f").arg(&key))
        .await?;
    let access = allow(&read(&key.with_extension("pub"))?).await?;
    let known = folder.path().join("known_hosts");
    std::fs::write(&known, known_hosts(&access))?;
    let status = Command::new("ssh")
        .arg("-i")
        .arg(&key)
        .args(["-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .args(["-p", &text(&access, "port"), "-l", &text(&access, "user"), "--", &text(&access, "address")])
        .args(&args.command)
        .status()
        .await
        .map_err(|error| missing("ssh", &error))?;
    Ok(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255))
}

fn read(file: &std::path::Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "give --key a readable public key")
    })
}

async fn program(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output().await.map_err(|error| missing("ssh-keygen", &error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::local(format!("ssh-keygen failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn missing(program: &str, error: &std::io::Error) -> Failure {
    Failure::local_with(format!("cannot run {program}: {error}"), "install an OpenSSH client")
}

/// The host key that the server pinned, as `ssh` wants it.
fn known_hosts(access: &Value) -> String {
    let (address, port, key) = (text(access, "address"), text(access, "port"), text(access, "host_key"));
    if port == "22" { format!("{address} {key}\n") } else { format!("[{address}]:{port} {key}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_other_ports_stand_in_brackets() {
        let access = |port: u16| json!({"address": "10.0.0.1", "port": port, "host_key": "ssh-ed25519 AAAA"});
        assert_eq!(known_hosts(&access(22)), "10.0.0.1 ssh-ed25519 AAAA\n");
        assert_eq!(known_hosts(&access(2222)), "[10.0.0.1]:2222 ssh-ed25519 AAAA\n");
    }
}
