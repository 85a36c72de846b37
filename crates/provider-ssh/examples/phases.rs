//! The client of `cargo xtask bench ssh`: on every host at once a file, a command and a process, through the adapter.
//!
//! `phases KEY_FILE HOSTS_FILE ROUND`: prints the seconds for everything, logins included, and the steps done.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::expect_used, clippy::unwrap_used)] // a tool

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use reeve_ports::remote::{Kept, RemoteError, RemoteErrorKind, RemoteFile, RemoteHosts, RemoteOrder, Target};
use reeve_provider_ssh::{Settings, Ssh};
use reeve_types::Secret;

/// What the bench compares: it must do the same as the playbook beside it.
const START: &str = r#"
if [ -f "$DIR/pid" ]; then kill "$(cat "$DIR/pid")" 2>/dev/null; fi
nohup sleep 600 >/dev/null 2>&1 </dev/null &
echo $! > "$DIR/pid"
kill -0 "$(cat "$DIR/pid")"
"#;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let key = Secret::new(std::fs::read_to_string(&args[1]).unwrap());
    let hosts: Vec<String> = std::fs::read_to_string(&args[2]).unwrap().lines().map(str::to_owned).collect();
    let round: u64 = args[3].parse().unwrap();
    let ssh = Arc::new(Ssh::new(Settings::default()));
    let begun = Instant::now();
    let work = hosts.iter().map(|address| {
        let target = Target {
            address: address.clone(),
            port: 22,
            user: "root".to_owned(),
            key: key.clone(),
            pinned: None,
            connect_timeout: Duration::from_secs(30),
        };
        let ssh = Arc::clone(&ssh);
        async move { tokio::spawn(async move { phases(&ssh, &target, round).await }).await.unwrap() }
    });
    let done: usize = try_join_all(work).await.unwrap().into_iter().sum();
    println!("{} {done}", begun.elapsed().as_secs_f64());
}

async fn phases(ssh: &Ssh, target: &Target, round: u64) -> Result<usize, RemoteError> {
    let host = ssh.connect(target).await?;
    let folder = format!("/tmp/reeve-bench-ssh/{}", target.address);
    let content = format!("round {round}\n").repeat(400);
    host.upload(RemoteFile::new(format!("{folder}/config"), 0o644, content)).await?;
    let orders = [RemoteOrder::new(["uptime"]), RemoteOrder::script(START).with_env("DIR", folder.clone())];
    for order in &orders {
        let mut kept = Kept::default();
        let outcome = host.run(order, &mut kept).await?;
        if !outcome.is_success() {
            let text = format!("{}: {} {}", target.address, outcome.end, kept.last_words());
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        }
    }
    Ok(1 + orders.len())
}
