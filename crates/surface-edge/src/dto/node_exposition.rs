//! A node's sample as text for Prometheus, under the names that node exporters and agents of the original use.

use reeve_types::Timestamp;
use reeve_types::node_metrics::{AgentProcess, CpuTime, Host, Interface, Reading};

use crate::exposition::{Exposition, Kind, Labels};

const AGE: &str = "reeve_node_sample_age_seconds";

/// The machine; None when the node told nothing of it.
pub fn host(reading: &Reading, now: Timestamp) -> Option<Exposition> {
    let host = reading.sample.host.as_ref()?;
    let mut text = Exposition::default();
    load(&mut text, host);
    memory(&mut text, host);
    disk(&mut text, host);
    times(&mut text, host, reading.taken_at);
    processors(&mut text, host);
    network(&mut text, host);
    text.gauge(AGE, "Time since the node measured this", Some(age(reading, now)));
    Some(text)
}

fn load(text: &mut Exposition, host: &Host) {
    for (n, (name, help)) in [
        ("node_load1", "Load average over 1 minute"),
        ("node_load5", "Load average over 5 minutes"),
        ("node_load15", "Load average over 15 minutes"),
    ]
    .into_iter()
    .enumerate()
    {
        text.gauge(name, help, host.load_hundredths.map(|load| f64::from(load[n]) / 100.0));
    }
    text.gauge("node_procs_running", "Processes that can run", host.running_processes);
}

fn memory(text: &mut Exposition, host: &Host) {
    let Some(memory) = host.memory else { return };
    for (name, help, bytes) in [
        ("node_memory_MemTotal_bytes", "All memory", Some(memory.total)),
        ("node_memory_MemAvailable_bytes", "Memory that processes could still get", memory.available),
        ("node_memory_MemFree_bytes", "Memory used for nothing", memory.free),
        ("node_memory_Buffers_bytes", "Buffers of block devices", memory.buffers),
        ("node_memory_Cached_bytes", "The page cache", memory.cached),
        ("node_memory_SwapTotal_bytes", "Swap space", memory.swap_total),
        ("node_memory_SwapFree_bytes", "Swap space that is free", memory.swap_free),
    ] {
        text.gauge(name, help, bytes);
    }
}

fn disk(text: &mut Exposition, host: &Host) {
    let Some(disk) = host.disk else { return };
    for (name, help, bytes) in [
        ("node_filesystem_size_bytes", "Size of the file system", disk.size),
        ("node_filesystem_free_bytes", "Free space with what is kept for root", disk.free),
        ("node_filesystem_avail_bytes", "Free space for everybody", disk.available),
    ] {
        text.family(name, Kind::Gauge, help, [(Labels::of(&[("mountpoint", "/")]), bytes)]);
    }
}

fn times(text: &mut Exposition, host: &Host, taken_at: Timestamp) {
    let at = seconds(u64::try_from(taken_at.0 / 1_000).unwrap_or_default());
    let uptime = host.uptime_ms.map(seconds);
    text.gauge("node_time_seconds", "When this was measured, by the server's clock", Some(at));
    text.gauge("node_boot_time_seconds", "When the machine started", uptime.map(|up| (at - up).round()));
}

fn processors(text: &mut Exposition, host: &Host) {
    let samples = host.cpus.iter().flat_map(|cpu| {
        let number = cpu.number.to_string();
        CpuTime::MODES.into_iter().zip(cpu.spent).map(move |(mode, spent)| {
            (Labels::of(&[("cpu", &number), ("mode", mode)]), seconds(spent.saturating_mul(10)))
        })
    });
    text.family("node_cpu_seconds_total", Kind::Counter, "Time processors spent in each mode", samples);
}

fn network(text: &mut Exposition, host: &Host) {
    type Count = fn(&Interface) -> u64;
    let families: [(&str, &str, Count); 6] = [
        ("node_network_receive_bytes_total", "Bytes received", |i| i.received_bytes),
        ("node_network_receive_packets_total", "Packets received", |i| i.received_packets),
        ("node_network_receive_errs_total", "Packets that arrived broken", |i| i.received_errors),
        ("node_network_transmit_bytes_total", "Bytes sent", |i| i.sent_bytes),
        ("node_network_transmit_packets_total", "Packets sent", |i| i.sent_packets),
        ("node_network_transmit_errs_total", "Packets that could not be sent", |i| i.sent_errors),
    ];
    for (name, help, count) in families {
        let samples = host.interfaces.iter().map(|i| (Labels::of(&[("device", &i.name)]), count(i)));
        text.family(name, Kind::Counter, help, samples);
    }
}

/// The agent; None when it told nothing of itself. What it does not offer yet is 0.
pub fn agent(reading: &Reading, now: Timestamp) -> Option<Exposition> {
    let agent = reading.sample.agent.as_ref()?;
    let mut text = Exposition::default();
    application(&mut text, agent);
    for (name, help, value) in [
        ("edge_agent_bootstrap_registration_total", "Sessions opened with the server", agent.syncs),
        ("edge_agent_discovery_scan_total", "Scans for servers", 0),
        ("edge_agent_commands_sync_total", "Comparisons of the journal with the server", agent.syncs),
        ("edge_agent_commands_execution_enqueued_total", "Commands taken", agent.commands_accepted),
        ("edge_agent_commands_execution_completed_total", "Commands ended", agent.commands_completed),
        ("edge_agent_commands_report_total", "Results stored by the server", agent.results_stored),
        ("edge_agent_proxy_http_connection_total", "Connections to the HTTP proxy", 0),
        ("edge_agent_proxy_socks5_connection_total", "Connections to the SOCKS5 proxy", 0),
        ("edge_agent_proxy_tunnel_bytes_up_total", "Bytes from clients to targets", 0),
        ("edge_agent_proxy_tunnel_bytes_down_total", "Bytes from targets to clients", 0),
        ("edge_agent_ssh_authentication_total", "SSH logins tried", 0),
        ("edge_agent_ssh_connection_total", "SSH connections", 0),
        ("edge_agent_vpn_pull_total", "Mesh configurations fetched", 0),
        ("edge_agent_health_check_report_total", "Health reports sent", agent.heartbeats),
        ("reeve_agent_commands_expired_total", "Commands that came too late to be started", agent.commands_expired),
        ("reeve_agent_dials_total", "Connections tried", agent.dials),
    ] {
        text.counter(name, help, value);
    }
    let closed = ["normal", "deadline", "drain_timeout"].map(|reason| (Labels::of(&[("reason", reason)]), 0_u64));
    text.family("edge_agent_proxy_tunnel_closed_total", Kind::Counter, "Tunnels that ended", closed);
    text.gauge(AGE, "Time since the node measured this", Some(age(reading, now)));
    Some(text)
}

fn application(text: &mut Exposition, agent: &AgentProcess) {
    let name = "edge_agent_prom_ex_application_uptime_milliseconds_count";
    text.gauge(name, "Time since the agent started", Some(agent.uptime_ms));
    text.gauge("edge_agent_prom_ex_beam_stats_process_count", "Asynchronous tasks", agent.tasks);
    text.gauge("edge_agent_prom_ex_beam_memory_allocated_bytes", "Memory in RAM", agent.resident_bytes);
    let states = [
        ("available", agent.commands_queued),
        ("executing", agent.commands_running),
        ("completed", agent.commands_completed),
        ("discarded", agent.commands_expired),
        ("retryable", agent.results_waiting),
    ];
    let samples = states.map(|(state, n)| (Labels::of(&[("queue", "commands"), ("state", state)]), n));
    text.family("edge_agent_prom_ex_oban_queue_length_count", Kind::Gauge, "Commands by state", samples);
}

fn age(reading: &Reading, now: Timestamp) -> f64 {
    seconds(u64::try_from(now.ms_since(reading.taken_at)).unwrap_or_default())
}

// Exact up to 2^52 milliseconds.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
