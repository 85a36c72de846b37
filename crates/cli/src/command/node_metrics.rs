//! `reeve node metrics`: what a node measures.

use clap::ValueEnum;
use serde_json::Value;

use crate::Session;
use crate::api::{Api, EDGE, Query};
use crate::failure::{OK, Outcome};
use crate::names;
use crate::top::amount;
use crate::view::{View, age, column, text};

/// A source of text for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The machine
    Host,
    /// The agent
    Agent,
    /// WireGuard
    Wireguard,
}

/// How a node's metrics are shown.
pub static VIEW: View = View {
    plural: "nodes",
    columns: &[
        column("NODE", 9, 8, |m, _| text(m, "node_id")),
        column("CLUSTER", 5, 6, |m, _| text(m, "cluster_name")),
        column("MEASURED", 5, 6, |m, now| age(m, "timestamp", now)),
        column("CPU", 8, 4, cpu),
        column("LOAD", 8, 4, load),
        column("MEMORY", 8, 4, |m, _| room(m, "/host/memory")),
        column("DISK", 7, 4, |m, _| room(m, "/host/disk")),
        column("NETWORK", 6, 4, network),
        column("UPTIME", 5, 4, |m, _| word(m, "/host/uptime/human")),
        column("AGENT UPTIME", 5, 4, |m, _| word(m, "/agent/application/uptime_human")),
        column("AGENT MEMORY", 5, 4, |m, _| bytes(m, "/agent/application/memory_total_bytes")),
        column("COMMANDS", 5, 4, commands),
    ],
    name: |m| text(m, "node_id"),
};

fn number(metrics: &Value, pointer: &str) -> Option<f64> {
    metrics.pointer(pointer).and_then(Value::as_f64)
}

fn word(metrics: &Value, pointer: &str) -> String {
    metrics.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned()
}

fn bytes(metrics: &Value, pointer: &str) -> String {
    number(metrics, pointer).map_or_else(|| "-".to_owned(), amount)
}

fn cpu(metrics: &Value, _: jiff::Timestamp) -> String {
    let Some(cores) = number(metrics, "/host/cpu/cores") else { return "-".to_owned() };
    let cores = format!("{cores:.0} {}", if cores == 1.0 { "core" } else { "cores" });
    match number(metrics, "/host/cpu/usage_percent") {
        Some(percent) => format!("{percent:.1}% of {cores}"),
        None => cores,
    }
}

fn load(metrics: &Value, _: jiff::Timestamp) -> String {
    let average = |minutes| number(metrics, &format!("/host/cpu/load_{minutes}m"));
    match (average(1), average(5), average(15)) {
        (Some(one), Some(five), Some(fifteen)) => format!("{one:.2} {five:.2} {fifteen:.2}"),
        _ => "-".to_owned(),
    }
}

fn room(metrics: &Value, at: &str) -> String {
    let part = |name: &str| number(metrics, &format!("{at}/{name}"));
    match (part("usage_percent"), part("used_bytes"), part("total_bytes")) {
        (Some(percent), Some(used), Some(total)) => format!("{percent:.1}%, {} of {}", amount(used), amount(total)),
        _ => "-".to_owned(),
    }
}

fn network(metrics: &Value, _: jiff::Timestamp) -> String {
    let rate = |name: &str| number(metrics, &format!("/host/network/{name}_bytes_per_second"));
    match (rate("received"), rate("sent")) {
        (Some(received), Some(sent)) => format!("{}/s in, {}/s out", amount(received), amount(sent)),
        _ => "-".to_owned(),
    }
}

fn commands(metrics: &Value, _: jiff::Timestamp) -> String {
    let count = |name: &str| number(metrics, &format!("/agent/oban_queues/0/{name}"));
    match (count("executing"), count("available"), count("completed")) {
        (Some(running), Some(queued), Some(ended)) => {
            format!("{running:.0} running, {queued:.0} queued, {ended:.0} ended")
        }
        _ => "-".to_owned(),
    }
}

/// Shows what a node measures; as Prometheus would read it when a source is given.
pub async fn show(api: &Api, node: &str, raw: Option<Source>, session: &mut Session<'_>) -> Outcome<u8> {
    let id = names::node_id(api, node).await?;
    let path = format!("{EDGE}/nodes/{id}/metrics");
    let Some(source) = raw else {
        let metrics = api.get(&path, &Query::new()).await?;
        session.show(&VIEW, &metrics)?;
        let silent = ["host", "agent"]
            .iter()
            .all(|half| metrics.pointer(&format!("/{half}/available")) != Some(&Value::Bool(true)));
        if silent && session.format().is_table() {
            session.world.out.note("the node does not answer and has told nothing in the last 5 minutes")?;
        }
        return Ok(OK);
    };
    let word = match source {
        Source::Host => "host",
        Source::Agent => "agent",
        Source::Wireguard => "wireguard",
    };
    let (text, _) = api.text(&format!("{path}/{word}/raw"), &Query::new()).await?;
    session.world.out.raw(&text)?;
    Ok(OK)
}
