//! `reeve up`: from nothing to a command's answer on an enrolled machine, with what a person needs printed once.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reeve_domain::command::{Create, Progress};
use reeve_domain::{App, command, enrollment_key, node};
use reeve_types::command::{TargetKind, Targeting};
use reeve_types::enrollment_key::EnrollmentKeyFilter;
use reeve_types::node::{NodeFilter, NodeStatus};
use reeve_types::{Actor, NodeId, Page, Range, TextMatch};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::config::{ServeArgs, Settings};
use crate::say;
use crate::serve::{Server, logging, stop_signal};

/// The key that the printed line carries; reused while it is valid.
const JOIN_KEY: &str = "printed by reeve up";
/// How long that key is valid.
const JOIN_KEY_LIFE_MS: i64 = 24 * 3600 * 1000;
/// How long the local agent may take to appear.
const AGENT_PATIENCE: Duration = Duration::from_secs(30);

/// `reeve up`.
pub async fn run(mut args: ServeArgs) -> Result<()> {
    if args.log.is_none() && std::env::var_os("REEVE_LOG").is_none() {
        args.log = Some("warn".into());
    }
    let settings = Settings::load(&args)?;
    logging(&settings)?;
    say::progress(&format!("reeve {} in {}", env!("CARGO_PKG_VERSION"), settings.data.display()));
    let started = Instant::now();
    let server = Server::start(settings).await?;
    say::progress(&format!("server ready in {} ms", started.elapsed().as_millis()));
    let mut agent = None;
    // Ctrl-C counts from here on, also while the agent is waited for: it is a process that would be left behind.
    let done = tokio::select! {
        done = come_up(&server, &mut agent) => done,
        stopped = stop_signal() => stopped,
    };
    say::progress("stopping");
    if let Some(agent) = agent {
        stop_agent(agent).await;
    }
    server.stop().await;
    say::progress("stopped");
    done
}

/// Brings up what belongs to the server and tells about it; ends only when that fails.
async fn come_up(server: &Server, agent: &mut Option<Child>) -> Result<()> {
    let welcomed = match server.listeners.contains_key("agents") {
        true => welcome_agent(server, agent).await,
        false => Ok(()),
    };
    if welcomed.is_err() && server.first_start {
        let kept = server.settings.data.join("credentials.json");
        say::progress(&format!("login and keys were made and are in {} (owner only)", kept.display()));
    }
    welcomed?;
    announce(server).await?;
    say::progress("Ctrl-C stops everything.");
    std::future::pending().await
}

/// Starts the local agent and tries a first command on it.
async fn welcome_agent(server: &Server, agent: &mut Option<Child>) -> Result<()> {
    let started = Instant::now();
    let child = agent.insert(start_agent(server).await?);
    let node = wait_for_agent(server, child).await?;
    say::progress(&format!("agent enrolled and healthy in {} ms: node {node}", started.elapsed().as_millis()));
    let started = Instant::now();
    let output = first_command(&server.app, &node).await?;
    say::progress(&format!("$ reeve run 'uname -sr' --all      ({} ms)", started.elapsed().as_millis()));
    for line in output.lines() {
        say::progress(&format!("    {line}"));
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // the local agent is a process of its own, as on any other machine
async fn start_agent(server: &Server) -> Result<Child> {
    let folder = server.settings.local_agent();
    let log_path = server.settings.data.join("agent.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("{} cannot be written", log_path.display()))?;
    let mut start = Command::new(std::env::current_exe().context("the path of reeve itself is unknown")?);
    start.arg("agent").arg("--data").arg(&folder);
    if let Some(endpoint) = local_endpoint(server) {
        start.arg("--server").arg(endpoint);
    }
    // By environment, so that the key is not seen in the list of processes.
    start.env("REEVE_ENROLLMENT_KEY", join_key(&server.app).await?);
    start.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).process_group(0);
    start.spawn().context("the local agent cannot be started")
}

/// The agents' listener as seen from this machine.
fn local_endpoint(server: &Server) -> Option<String> {
    let bound: std::net::SocketAddr = server.listeners.get("agents")?.strip_prefix("https://")?.parse().ok()?;
    let host = if bound.ip().is_unspecified() { "127.0.0.1".to_owned() } else { bound.ip().to_string() };
    Some(crate::config::with_port(&host, bound.port()))
}

/// What the agent's own folder says of it.
#[derive(serde::Deserialize)]
struct Identity {
    node_id: NodeId,
}

/// Waits for the agent that was started here, and for no other: those of other machines come back at the same time.
async fn wait_for_agent(server: &Server, agent: &mut Child) -> Result<NodeId> {
    let identity = server.settings.local_agent().join("identity.json");
    let log = server.settings.data.join("agent.log");
    let started = Instant::now();
    while started.elapsed() < AGENT_PATIENCE {
        if let Some(status) = agent.try_wait()? {
            bail!("the local agent ended at once ({status}); see {}", log.display());
        }
        let known =
            std::fs::read_to_string(&identity).ok().and_then(|text| serde_json::from_str::<Identity>(&text).ok());
        if let Some(Identity { node_id }) = known
            && server.app.agents().is_connected(&node_id)
            && node::get(&server.app, &Actor::system(), &node_id).await?.node.status == NodeStatus::Healthy
        {
            return Ok(node_id);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the local agent did not connect in {} s; see {}", AGENT_PATIENCE.as_secs(), log.display())
}

async fn first_command(app: &Arc<App>, node: &NodeId) -> Result<String> {
    let system = Actor::system();
    let targeting = Targeting {
        kind: TargetKind::Nodes,
        node_ids: vec![node.clone()],
        cluster_names: Vec::new(),
        nodes: NodeFilter::default(),
        clusters: Default::default(),
        labels: None,
    };
    let input = Create {
        command_text: "uname -sr".into(),
        timeout_ms: Some(10_000),
        expired_at: None,
        targeting,
        targeting_document: serde_json::json!({"type": "nodes", "node_ids": [node]}),
        rollout: None,
    };
    let made = command::create(app, &system, input).await?;
    let mut watch = command::watch(app, &system, &made.command.id, None).await?;
    let mut output = String::new();
    let patience = tokio::time::sleep(Duration::from_secs(20));
    tokio::pin!(patience);
    loop {
        tokio::select! {
            progress = watch.next() => match progress? {
                Some(Progress::Output { text, .. }) => output.push_str(&text),
                Some(_) => {}
                None => return Ok(output),
            },
            () = &mut patience => bail!("the first command got no answer; see agent.log in the data directory"),
        }
    }
}

/// An unlimited key for the default cluster that is valid for a day; the same one while it lasts.
async fn join_key(app: &App) -> Result<String> {
    let system = Actor::system();
    let filter = EnrollmentKeyFilter {
        name: Some(TextMatch::Exact(JOIN_KEY.into())),
        expired_at: Range { gte: Some(app.now().plus_ms(3_600_000)), lte: None },
        ..EnrollmentKeyFilter::default()
    };
    let kept = enrollment_key::list(app, &system, filter, None, &[], Page { number: 1, size: 1 }).await?;
    if let Some(key) = kept.items.into_iter().next() {
        return Ok(key.key.expose().to_owned());
    }
    let fresh = enrollment_key::Create {
        name: Some(JOIN_KEY.into()),
        uses_remaining: None,
        expired_at: Some(app.now().plus_ms(JOIN_KEY_LIFE_MS)),
    };
    Ok(enrollment_key::create_for_default(app, &system, fresh).await?.key.expose().to_owned())
}

async fn announce(server: &Server) -> Result<()> {
    let get = |surface: &str| server.listeners.get(surface).cloned().unwrap_or_else(|| "off".into());
    say::line("");
    say::line(&format!("  Console    {}", get("console")));
    say::line(&format!("  Edge API   {}/api/v1    docs {}/swaggerui", get("edge"), get("edge")));
    let provisioning = get("provisioning");
    say::line(&format!("  Provision  {provisioning}/v1    docs {provisioning}/swaggerui"));
    let c = &server.credentials;
    if server.first_start {
        let password = if c.password.is_empty() { "(as on the first server)" } else { &c.password };
        say::line(&format!("  Login      {} / {password}", c.username));
        say::line(&format!("  Master key {}", c.master_key));
        say::line(&format!(
            "             shown once; kept in {} (owner only)",
            server.settings.data.join("credentials.json").display()
        ));
    } else {
        say::line(&format!("  Login      as before; see {}", server.settings.data.join("credentials.json").display()));
    }
    if server.listeners.contains_key("agents") && server.settings.default_cluster_name.is_some() {
        say::line("");
        say::line("  Join another machine (key valid for a day):");
        say::line(&format!("    reeve agent --enroll {}", join_key(&server.app).await?));
        if get("agents").contains("//127.") {
            say::line(
                "    (agents are accepted from this machine only; for others start with --listen agents=0.0.0.0:7443)",
            );
        }
    }
    say::line("");
    let data = &server.settings.data;
    if *data == Settings::default().data {
        say::line("  Try        reeve node list        reeve run 'uptime' --all");
    } else {
        // The client looks for credentials in ./reeve-data, or where it is told.
        let data = std::path::absolute(data)?;
        say::line(&format!("  Try        export REEVE_DATA={}", data.display()));
        say::line("             reeve node list        reeve run 'uptime' --all");
    }
    say::line("");
    Ok(())
}

/// Asks the agent to stop and waits for it.
async fn stop_agent(mut agent: Child) {
    if let Some(pid) = agent.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()))
        && rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_err()
    {
        return;
    }
    if tokio::time::timeout(Duration::from_secs(8), agent.wait()).await.is_err()
        && let Err(error) = agent.kill().await
    {
        tracing::warn!(%error, "the local agent could not be stopped");
    }
}
