//! Signed deliveries to a hundred receivers: how many a second out of a burst, and how old events are on arrival while one
//! receiver is dead and one is slow.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::{Client, Server, ServerOptions};
use serde_json::json;

use super::Bench;
use super::receivers::Receivers;
use super::report::{Figure, Target};
use super::rig::{folder, options, seed};

/// Receivers, the dead and the slow one among them.
const HOOKS: usize = 100;
/// Nodes: a command for all of them makes as many events at once.
const NODES: u64 = 500;
/// Events a second while ages are measured: 2,000 deliveries.
const STEADY: u32 = 20;
const SLOW: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(300);

struct Run {
    per_second: f64,
    p50: f64,
    p99: f64,
}

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    eprintln!("  all receivers well");
    let well = measure(bench, None)?;
    eprintln!("  one dead, one slow");
    let ill = measure(bench, Some(SLOW))?;
    let name = |what: &str| format!("{HOOKS} receivers: {what}");
    let ages = format!("{} deliveries/s; from the event to its arrival", STEADY as usize * HOOKS);
    Ok(vec![
        Figure::new(name("signed deliveries out of a burst"), well.per_second, "/s", Target::AtLeast(2_000.0))
            .note(format!("{} events at once, one process on SQLite", NODES * bench.percent / 100)),
        Figure::new(name("the same, one dead and one slow"), ill.per_second, "/s", Target::AtLeast(2_000.0))
            .note("what the others get"),
        Figure::new(name("age on arrival, p50"), well.p50, "ms", Target::None).note(ages.clone()),
        Figure::new(name("age on arrival, p99"), well.p99, "ms", Target::AtMost(100.0)).note(ages.clone()),
        Figure::new(name("one dead and one slow, p50"), ill.p50, "ms", Target::None).note(ages.clone()),
        Figure::new(name("one dead and one slow, p99"), ill.p99, "ms", Target::AtMost(100.0))
            .note("of the others' deliveries"),
    ])
}

fn measure(bench: &Bench, slow: Option<Duration>) -> Result<Run> {
    let folder = folder()?;
    seed(bench, folder.path(), NODES, 0)?;
    let mut options: ServerOptions = options(bench, folder.path(), "127.0.0.1:0");
    options.environment.push(("WEBHOOK_ALLOW_PRIVATE_IPS".to_owned(), "true".to_owned()));
    let server = Server::start(&options)?;
    let mut edge = server.edge()?;
    let dead = slow.map(|_| dead_url()).transpose()?;
    let receivers = Receivers::start(HOOKS - usize::from(dead.is_some()), slow)?;
    for url in receivers.urls.iter().chain(&dead) {
        subscribe(&mut edge, url)?;
    }
    let counted = (receivers.urls.len() - usize::from(slow.is_some())) as u64;
    let arrivals = &receivers.arrivals;

    let nodes = NODES * bench.percent / 100;
    let begun = Instant::now();
    server.run_on_all("true")?;
    await_count(&receivers, counted * nodes)?;
    let per_second = (counted * nodes) as f64 / begun.elapsed().as_secs_f64();
    arrivals.take_ages();

    let node = edge.get("/api/v1/nodes?page_size=1")?;
    let node = node[0]["id"].as_str().context("no node")?.to_owned();
    let body = json!({ "command_text": "true", "targeting": { "type": "nodes", "node_ids": [node] } });
    let events = STEADY as u64 * bench.seconds.max(1);
    let (begun, before) = (Instant::now(), arrivals.count());
    for n in 0..events {
        let due = Duration::from_secs(1) * n as u32 / STEADY;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        edge.call("POST", "/api/v1/commands", &body)?;
    }
    await_count(&receivers, before + counted * events)?;
    let mut ages = arrivals.take_ages();
    ages.sort_by(f64::total_cmp);
    let share =
        |share: f64| ages.get((ages.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    if arrivals.unsigned() > 0 {
        bail!("{} deliveries were not signed", arrivals.unsigned());
    }
    Ok(Run { per_second, p50: share(0.5), p99: share(0.99) })
}

fn subscribe(edge: &mut Client, url: &str) -> Result<()> {
    let body = json!({
        "url": url, "secret": "a-secret-of-the-benchmark-with-more-than-32-bytes",
        "subscribed_events": ["edge.command_execution.created"],
    });
    edge.call("POST", "/api/v1/webhooks", &body).map(drop)
}

/// A port that nobody listens on.
fn dead_url() -> Result<String> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!("http://127.0.0.1:{port}/dead"))
}

fn await_count(receivers: &Receivers, count: u64) -> Result<()> {
    let begun = Instant::now();
    while receivers.arrivals.count() < count {
        if begun.elapsed() > LIMIT {
            bail!("{} of {count} deliveries came", receivers.arrivals.count());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
