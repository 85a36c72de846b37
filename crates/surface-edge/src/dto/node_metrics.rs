//! What nodes measure, as the wire has it.

use std::collections::BTreeMap;

use reeve_domain::node_metrics::{Measured, Target};
use reeve_types::Result;
use reeve_types::node::NodeFilter;
use reeve_types::node_metrics::{self as measured, AgentProcess, Reading, Sample, Source};
use serde::{Deserialize, Serialize};

use super::amount::{gb, human, mb, percent};
use super::node::{selector, statuses};
use super::{prose, shown};

/// The filters of the list.
#[derive(Debug, Deserialize)]
pub struct Query {
    cluster_name: Option<String>,
    status: Option<String>,
    label_selector: Option<String>,
    connected: Option<bool>,
    live: Option<bool>,
}

impl Query {
    /// The filter, and whether nodes are asked.
    ///
    /// # Errors
    /// Invalid for a selector that cannot be read.
    pub fn filter(self) -> Result<(NodeFilter, bool)> {
        let filter = NodeFilter {
            cluster_name: prose(self.cluster_name),
            status: self.status.as_deref().map(statuses).unwrap_or_default(),
            connected: self.connected,
            labels: selector(self.label_selector.as_deref(), "label_selector")?,
            ..NodeFilter::default()
        };
        Ok((filter, self.live.unwrap_or(false)))
    }
}

/// Processors and load.
#[derive(Debug, Serialize)]
struct Cpu {
    cores: Option<u32>,
    load_1m: Option<f64>,
    load_5m: Option<f64>,
    load_15m: Option<f64>,
    usage_percent: Option<f64>,
}

/// Memory, or the file system of `/`.
#[derive(Debug, Default, Serialize)]
struct Room {
    total_bytes: Option<u64>,
    total_gb: Option<f64>,
    available_bytes: Option<u64>,
    available_gb: Option<f64>,
    used_bytes: Option<u64>,
    used_gb: Option<f64>,
    usage_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mountpoint: Option<&'static str>,
}

impl Room {
    fn of(room: Option<(u64, Option<u64>)>) -> Self {
        let Some((total, available)) = room else { return Self::default() };
        let used = available.map(|available| total.saturating_sub(available));
        Self {
            total_bytes: Some(total),
            total_gb: Some(gb(total)),
            available_bytes: available,
            available_gb: available.map(gb),
            used_bytes: used,
            used_gb: used.map(gb),
            usage_percent: used.and_then(|used| percent(used, total)),
            mountpoint: None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Network {
    received_bytes_per_second: Option<u64>,
    sent_bytes_per_second: Option<u64>,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Serialize)]
struct Interface {
    name: String,
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Uptime {
    seconds: Option<u64>,
    human: Option<String>,
}

impl Uptime {
    fn of(uptime_ms: Option<u64>) -> Self {
        let seconds = uptime_ms.map(|ms| ms / 1_000);
        Self { seconds, human: seconds.map(human) }
    }
}

/// The machine.
#[derive(Debug, Serialize)]
pub struct Host {
    cpu: Cpu,
    memory: Room,
    disk: Room,
    network: Network,
    uptime: Uptime,
}

impl Host {
    fn of(host: measured::Host) -> Self {
        let load = |n: usize| host.load_hundredths.map(|load| f64::from(load[n]) / 100.0);
        let disk = Room::of(host.disk.map(|d| (d.size, Some(d.available))));
        let interface = |i: measured::Interface| Interface {
            name: i.name,
            received_bytes: i.received_bytes,
            sent_bytes: i.sent_bytes,
        };
        Self {
            cpu: Cpu {
                cores: host.cores,
                load_1m: load(0),
                load_5m: load(1),
                load_15m: load(2),
                usage_percent: host.busy_permille.map(|busy| f64::from(busy) / 10.0),
            },
            memory: Room::of(host.memory.map(|m| (m.total, m.available))),
            disk: Room { mountpoint: Some("/"), ..disk },
            network: Network {
                received_bytes_per_second: host.received_bytes_per_second,
                sent_bytes_per_second: host.sent_bytes_per_second,
                interfaces: host.interfaces.into_iter().map(interface).collect(),
            },
            uptime: Uptime::of(host.uptime_ms),
        }
    }
}

/// The agent. What belongs to the original's runtime and not to ours is null; what the agent does not offer yet is 0.
#[derive(Debug, Serialize)]
pub struct Agent {
    application: Application,
    oban_queues: [Queue; 1],
    commands: Commands,
    discovery: Discovery,
    proxy: Proxy,
    ssh: Ssh,
    vpn: Vpn,
    health_check: HealthCheck,
}

#[derive(Debug, Serialize)]
struct Application {
    process_count: Option<u64>,
    memory_total_bytes: Option<u64>,
    memory_total_mb: Option<f64>,
    memory_processes_bytes: Option<u64>,
    memory_processes_mb: Option<f64>,
    memory_ets_bytes: Option<u64>,
    memory_ets_mb: Option<f64>,
    memory_binary_bytes: Option<u64>,
    memory_binary_mb: Option<f64>,
    uptime_seconds: u64,
    uptime_human: String,
}

#[derive(Debug, Serialize)]
struct Queue {
    queue: &'static str,
    available: u64,
    executing: u64,
    completed: u64,
    discarded: u64,
    retryable: u64,
}

#[derive(Debug, Serialize)]
struct Commands {
    synced_total: u64,
    enqueued_total: u64,
    completed_total: u64,
    reported_total: u64,
}

#[derive(Debug, Serialize)]
struct Discovery {
    scans_total: u64,
    admins_found_last: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Proxy {
    http_connections_total: u64,
    http_blocked_total: u64,
    http_blocked_by_reason: BTreeMap<&'static str, u64>,
    socks5_connections_total: u64,
    socks5_blocked_total: u64,
    socks5_blocked_by_reason: BTreeMap<&'static str, u64>,
    bytes_up_total: u64,
    bytes_up_mb: f64,
    bytes_down_total: u64,
    bytes_down_mb: f64,
    tunnels_closed_total: u64,
    tunnels_closed_normal_total: u64,
    tunnels_closed_deadline_total: u64,
    tunnels_closed_drain_timeout_total: u64,
}

#[derive(Debug, Serialize)]
struct Ssh {
    authentications_total: u64,
    connections_total: u64,
}

#[derive(Debug, Serialize)]
struct Vpn {
    pulls_total: u64,
}

#[derive(Debug, Serialize)]
struct HealthCheck {
    reports_total: u64,
}

impl From<AgentProcess> for Agent {
    fn from(agent: AgentProcess) -> Self {
        let uptime_seconds = agent.uptime_ms / 1_000;
        Self {
            application: Application {
                process_count: agent.tasks,
                memory_total_bytes: agent.resident_bytes,
                memory_total_mb: agent.resident_bytes.map(mb),
                memory_processes_bytes: None,
                memory_processes_mb: None,
                memory_ets_bytes: None,
                memory_ets_mb: None,
                memory_binary_bytes: None,
                memory_binary_mb: None,
                uptime_seconds,
                uptime_human: human(uptime_seconds),
            },
            oban_queues: [Queue {
                queue: "commands",
                available: agent.commands_queued,
                executing: agent.commands_running,
                completed: agent.commands_completed,
                discarded: agent.commands_expired,
                retryable: agent.results_waiting,
            }],
            commands: Commands {
                synced_total: agent.syncs,
                enqueued_total: agent.commands_accepted,
                completed_total: agent.commands_completed,
                reported_total: agent.results_stored,
            },
            discovery: Discovery { scans_total: 0, admins_found_last: None },
            proxy: Proxy::default(),
            ssh: Ssh { authentications_total: 0, connections_total: 0 },
            vpn: Vpn { pulls_total: 0 },
            health_check: HealthCheck { reports_total: agent.heartbeats },
        }
    }
}

/// Whose numbers, and from when.
#[derive(Debug, Serialize)]
pub struct Of<T: Serialize> {
    node_id: String,
    cluster_name: String,
    timestamp: String,
    #[serde(flatten)]
    numbers: T,
}

/// The machine's numbers; None when the node told none.
pub fn host(reading: Reading) -> Option<Of<Host>> {
    let numbers = Host::of(reading.sample.host?);
    let (node_id, timestamp) = (reading.node_id.0, shown(reading.taken_at));
    Some(Of { node_id, cluster_name: reading.cluster_name, timestamp, numbers })
}

/// The agent's numbers; None when the node told none.
pub fn agent(reading: Reading) -> Option<Of<Agent>> {
    let numbers = Agent::from(reading.sample.agent?);
    let (node_id, timestamp) = (reading.node_id.0, shown(reading.taken_at));
    Some(Of { node_id, cluster_name: reading.cluster_name, timestamp, numbers })
}

/// Everything a node told.
#[derive(Debug, Serialize)]
pub struct Unified {
    host: Half<Host>,
    agent: Half<Agent>,
}

/// One source, or that there is nothing from it.
#[derive(Debug, Serialize)]
struct Half<T: Serialize> {
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(flatten)]
    numbers: Option<T>,
}

impl<T: Serialize> From<Option<T>> for Half<T> {
    fn from(numbers: Option<T>) -> Self {
        let available = numbers.is_some();
        Self { available, error: (!available).then_some("unavailable"), numbers }
    }
}

/// Everything a node told; halves that are missing say so. `now` stands for the moment when there is no sample.
pub fn unified(node_id: String, cluster_name: String, reading: Option<Reading>, now: String) -> Of<Unified> {
    let timestamp = reading.as_ref().map_or(now, |reading| shown(reading.taken_at));
    let Sample { host, agent } = reading.map(|reading| reading.sample).unwrap_or_default();
    let numbers = Unified { host: host.map(Host::of).into(), agent: agent.map(Agent::from).into() };
    Of { node_id, cluster_name, timestamp, numbers }
}

/// A row of the list.
#[derive(Debug, Serialize)]
pub struct Row {
    hostname: Option<String>,
    status: &'static str,
    connected: bool,
    labels: BTreeMap<String, String>,
    cpu: Option<Cpu>,
    memory: Option<Room>,
    disk: Option<Room>,
    network: Option<Network>,
    uptime: Option<Uptime>,
    commands: Option<Busy>,
}

#[derive(Debug, Serialize)]
struct Busy {
    queued: u64,
    running: u64,
}

#[derive(Deserialize)]
struct Facts {
    hostname: Option<String>,
}

/// A row of the list.
pub fn row(measured: Measured) -> Of<Row> {
    let Measured { node, taken_at, sample } = measured;
    let facts = node.facts.as_deref().and_then(|json| serde_json::from_str::<Facts>(json).ok());
    let host = sample.host.map(Host::of);
    let (cpu, memory, disk, network, uptime) = match host {
        Some(h) => (Some(h.cpu), Some(h.memory), Some(h.disk), Some(h.network), Some(h.uptime)),
        None => (None, None, None, None, None),
    };
    let numbers = Row {
        hostname: facts.and_then(|facts| facts.hostname),
        status: node.status.word(),
        connected: node.connected_server.is_some(),
        labels: node.labels,
        cpu,
        memory,
        disk,
        network,
        uptime,
        commands: sample.agent.map(|a| Busy { queued: a.commands_queued, running: a.commands_running }),
    };
    Of { node_id: node.id.0, cluster_name: node.cluster_name, timestamp: shown(taken_at), numbers }
}

/// A node as Prometheus finds it.
#[derive(Serialize)]
pub struct ScrapeTarget<'a> {
    targets: [&'a str; 1],
    labels: ScrapeLabels<'a>,
}

#[derive(Serialize)]
struct ScrapeLabels<'a> {
    cluster: &'a str,
    job: &'static str,
    #[serde(rename = "__metrics_path__")]
    path: String,
    node_id: &'a str,
}

/// A node as Prometheus finds it, to be scraped at `base` for the numbers of `source`.
pub fn scrape_target<'a>(target: &'a Target, source: Source, base: &'a str) -> ScrapeTarget<'a> {
    let job = match source {
        Source::Host => "node-host-metrics",
        Source::Agent => "node-agent-metrics",
        Source::Wireguard => "node-wireguard-metrics",
    };
    let path = format!("/api/v1/nodes/{}/metrics/{}/raw", target.node_id, source.word());
    ScrapeTarget {
        targets: [base],
        labels: ScrapeLabels { cluster: &target.cluster_name, job, path, node_id: target.node_id.as_str() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn room_is_shown_in_bytes_gigabytes_and_percent() {
        let room = json!(Room::of(Some((8_589_934_592, Some(2_814_377_984)))));
        let expected = json!({
            "total_bytes": 8_589_934_592_u64, "total_gb": 8.0, "available_bytes": 2_814_377_984_u64, "available_gb": 2.6,
            "used_bytes": 5_775_556_608_u64, "used_gb": 5.4, "usage_percent": 67.2,
        });
        assert_eq!(room, expected);
        assert_eq!(json!(Room::of(Some((5, None))))["usage_percent"], json!(null));
        assert_eq!(json!(Room::of(None))["total_gb"], json!(null));
    }

    #[test]
    fn a_missing_half_says_so_and_nothing_more() {
        let sample = Sample { host: Some(measured::Host::default()), agent: None };
        let reading = Reading { node_id: "n".into(), cluster_name: "c".into(), taken_at: Default::default(), sample };
        let shown = json!(unified("n".into(), "c".into(), Some(reading), String::new()));
        assert_eq!(shown["agent"], json!({"available": false, "error": "unavailable"}));
        assert_eq!(shown["host"]["available"], json!(true));
        assert!(shown["host"].get("error").is_none() && shown["host"]["cpu"].is_object());
    }
}
