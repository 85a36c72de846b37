//! The program `cilium`: `install`, `upgrade`, `status`, `uninstall`.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{runtime, say};

const DAEMONSET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium";

#[derive(Default)]
struct Flags<'a> {
    version: &'a str,
    wait: Duration,
}

pub fn run(words: &[&str]) -> Result<(), String> {
    let [verb, rest @ ..] = words else { return Err("which command?".to_owned()) };
    let mut flags = Flags::default();
    let mut rest = rest.iter().copied();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().ok_or(format!("flag needs an argument: {flag}"));
        match (flag, *verb) {
            ("--version", "install" | "upgrade") => flags.version = value()?,
            ("--values", "install" | "upgrade") => values(value()?)?,
            ("--chart-directory", "install" | "upgrade") => chart(value()?)?,
            ("--wait", _) => flags.wait = flags.wait.max(Duration::from_secs(300)),
            ("--wait-duration", "status") => {
                let seconds = value()?.trim_end_matches('s').parse();
                flags.wait = Duration::from_secs(seconds.map_err(|_| "invalid argument for --wait-duration")?);
            }
            _ => return Err(format!("unknown flag: {flag}")),
        }
    }
    runtime()?.block_on(async {
        let client = Client::of_kubeconfig()?;
        let there = client.get(DAEMONSET).await;
        match (*verb, there) {
            ("install", Ok(_)) => Err("Unable to install Cilium: cannot re-use a name that is still in use".to_owned()),
            ("install", Err(_)) | ("upgrade", Ok(_)) => {
                client.call(Method::PUT, DAEMONSET, Some(&json!({"version": flags.version}))).await?;
                say(&format!("cilium {} (simulated)", flags.version));
                Ok(())
            }
            ("upgrade", Err(_)) => Err("Unable to upgrade Cilium: release: not found".to_owned()),
            ("status", _) => status(&client, flags.wait).await,
            ("uninstall", _) => client.call(Method::DELETE, DAEMONSET, None).await.map(|_| ()),
            _ => Err(format!("unknown command \"{verb}\" for \"cilium\"")),
        }
    })
}

/// Values must be readable, and nothing but a map.
fn values(path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let values: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    if values.is_object() || values.is_null() { Ok(()) } else { Err(format!("{path}: values are a map")) }
}

fn chart(folder: &str) -> Result<(), String> {
    let path = format!("{folder}/Chart.yaml");
    std::fs::metadata(&path).map(|_| ()).map_err(|error| format!("{path}: {error}"))
}

/// Ok once the agents of all nodes answer.
async fn status(client: &Client, patience: Duration) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let problem = match client.get(DAEMONSET).await {
            Err(problem) => problem,
            Ok(found) => {
                let [wanted, ready] =
                    ["desiredNumberScheduled", "numberReady"].map(|name| found["status"][name].as_u64());
                if wanted == ready && wanted > Some(0) {
                    say("Cilium: OK");
                    return Ok(());
                }
                format!("{} of {} agents are ready", ready.unwrap_or(0), wanted.unwrap_or(0))
            }
        };
        if begun.elapsed() >= patience {
            return Err(format!("Unable to determine status: {problem}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
