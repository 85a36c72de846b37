//! What every node is: it joins, says that it is there, and answers for its kubelet and, where it is told to, for Cilium.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::api::Told;
use super::client::Client;
use super::config::{Config, Role};
use super::{DATA, complain, random, write};

/// Between two words to the server. The original says less.
const BEAT: Duration = Duration::from_millis(500);
const KUBELET: u16 = 10248;
const CILIUM: u16 = 9879;
const PASSWORD: &str = "/etc/rancher/node/password";

pub async fn run(config: &Config) -> Result<(), String> {
    if let Some(ip) = config.node_ip {
        UdpSocket::bind((ip, 0)).map_err(|_| format!("node-ip {ip} is not an address of this machine"))?;
    }
    for image in std::fs::read_dir(format!("{DATA}/agent/images")).into_iter().flatten().flatten() {
        complain(&format!("Importing images from {} (the simulator only says so)", image.path().display()));
    }
    let password = password()?;
    let url = match (&config.join, config.role) {
        (Some(url), Role::Agent) => url.clone(),
        _ => format!("https://127.0.0.1:{}", config.port),
    };
    let (mut client, mut kubelet, mut cilium): (Option<Client>, Option<JoinHandle<()>>, Option<JoinHandle<()>>) =
        (None, None, None);
    loop {
        match beat(config, &url, &password, &mut client, cilium.is_some()).await {
            Ok(wants_cilium) => {
                if kubelet.is_none() {
                    if config.role == Role::Agent {
                        write(&format!("{DATA}/agent/kubelet.kubeconfig"), "# of the simulator: it needs none\n")?;
                    }
                    kubelet = Some(answer(KUBELET).await?);
                    complain("this node has joined");
                }
                if wants_cilium && cilium.is_none() {
                    cilium = Some(answer(CILIUM).await?);
                } else if !wants_cilium && let Some(task) = cilium.take() {
                    task.abort();
                }
            }
            Err(problem) => complain(&format!("failed to retrieve configuration from server: {problem}")),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// One word to the server. Says whether Cilium is to run here.
async fn beat(
    config: &Config,
    url: &str,
    password: &str,
    client: &mut Option<Client>,
    cilium: bool,
) -> Result<bool, String> {
    let known = match client.take() {
        Some(known) => known,
        None => {
            let token = match config.role {
                Role::Agent => config.token.clone(),
                // The server may have made one up.
                Role::Server => {
                    std::fs::read_to_string(format!("{DATA}/server/node-token")).unwrap_or_default().trim().to_owned()
                }
            };
            Client::of_node(url, &token, password).await?
        }
    };
    let server = config.role == Role::Server;
    let told = Told { address: config.node_ip, labels: config.labels.clone(), server, cilium };
    let body = serde_json::to_value(&told).map_err(|error| error.to_string())?;
    let answer = known.call(Method::PUT, &format!("/v1-k3s/nodes/{}", config.node_name), Some(&body)).await?;
    *client = Some(known);
    let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    Ok(answer["cilium"] == true)
}

/// Made once: by it the server knows the node again.
fn password() -> Result<String, String> {
    if let Ok(kept) = std::fs::read_to_string(PASSWORD) {
        return Ok(kept.trim().to_owned());
    }
    let fresh = random()?;
    write(PASSWORD, &fresh)?;
    Ok(fresh)
}

/// Says `ok` at `/healthz` on this machine alone.
async fn answer(port: u16) -> Result<JoinHandle<()>, String> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    let routes = Router::new().route("/healthz", get(|| async { "ok" }));
    Ok(tokio::spawn(async move { drop(axum::serve(listener, routes).await) }))
}
