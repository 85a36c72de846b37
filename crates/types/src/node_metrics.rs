//! What nodes measure. A number that could not be read is None.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::node::words;
use crate::time::Timestamp;

words! {
    /// A source of metrics on a node.
    Source {
        /// The machine.
        Host = "host",
        /// The agent.
        Agent = "agent",
        /// WireGuard.
        Wireguard = "wireguard",
    }
}

/// What a node measured at one moment. Stored as JSON; fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// The machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentProcess>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Processors.
    pub cores: Option<u32>,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load_hundredths: Option<[u32; 3]>,
    /// Processes that can run.
    pub running_processes: Option<u64>,
    /// Time since the machine started.
    pub uptime_ms: Option<u64>,
    /// Memory.
    pub memory: Option<Memory>,
    /// The file system of `/`.
    pub disk: Option<Disk>,
    /// Time each processor has spent; at most 256.
    pub cpus: Vec<CpuTime>,
    /// Network interfaces besides the loopback; at most 32.
    pub interfaces: Vec<Interface>,
    /// Share of the processors' time that was not idle lately, in thousandths.
    pub busy_permille: Option<u32>,
    /// Received over all interfaces lately.
    pub received_bytes_per_second: Option<u64>,
    /// Sent over all interfaces lately.
    pub sent_bytes_per_second: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What processes could still get.
    pub available: Option<u64>,
    /// Used for nothing.
    pub free: Option<u64>,
    /// Buffers of block devices.
    pub buffers: Option<u64>,
    /// The page cache.
    pub cached: Option<u64>,
    /// Swap space.
    pub swap_total: Option<u64>,
    /// Swap space that is free.
    pub swap_free: Option<u64>,
}

/// A file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Its size.
    pub size: u64,
    /// Free, with what is kept for root.
    pub free: u64,
    /// Free for everybody.
    pub available: u64,
}

/// Time one processor has spent since the machine started, in hundredths of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTime {
    /// Its number.
    pub number: u32,
    /// By [`CpuTime::MODES`].
    pub spent: [u64; 8],
}

impl CpuTime {
    /// What a processor's time is spent on, as node exporters call it.
    pub const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
}

/// A network interface, counted since the machine started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets that arrived broken or not at all.
    pub received_errors: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that could not be sent.
    pub sent_errors: u64,
}

/// The agent's process. Its counters start with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentProcess {
    /// Time since it started.
    pub uptime_ms: u64,
    /// Its memory that is in RAM.
    pub resident_bytes: Option<u64>,
    /// Its asynchronous tasks.
    pub tasks: Option<u64>,
    /// Commands taken into the journal.
    pub commands_accepted: u64,
    /// Commands that ran to an end or were cancelled.
    pub commands_completed: u64,
    /// Commands that came too late to be started.
    pub commands_expired: u64,
    /// Results that the server has stored.
    pub results_stored: u64,
    /// Commands waiting for their turn.
    pub commands_queued: u64,
    /// Commands running.
    pub commands_running: u64,
    /// Results that the server has not stored yet.
    pub results_waiting: u64,
    /// Sessions in which the journal was compared with the server's view.
    pub syncs: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Connections tried.
    pub dials: u64,
}

/// A sample with its node and moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The node.
    pub node_id: NodeId,
    /// Its cluster's name.
    pub cluster_name: String,
    /// When it arrived here.
    pub taken_at: Timestamp,
    /// What was measured.
    pub sample: Sample,
}

/// The numbers of a sample that lists are sorted by, in thousandths where they are fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Load average over a minute.
    pub load: Option<i64>,
    /// Processors' time that was not idle.
    pub cpu: Option<i64>,
    /// Memory that is not available.
    pub memory: Option<i64>,
    /// Disk that is not available.
    pub disk: Option<i64>,
    /// Bytes a second, in both directions.
    pub network: Option<i64>,
    /// Time since the machine started, in milliseconds.
    pub uptime: Option<i64>,
}

impl Figures {
    /// The figures of a sample.
    pub fn of(sample: &Sample) -> Self {
        let Some(host) = &sample.host else { return Self::default() };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let memory = host.memory.and_then(|m| used_permille(m.total, m.available?));
        let rates = host.received_bytes_per_second.zip(host.sent_bytes_per_second);
        Self {
            load: host.load_hundredths.map(|[one, _, _]| i64::from(one) * 10),
            cpu: host.busy_permille.map(i64::from),
            memory: memory.map(i64::from),
            disk: host.disk.and_then(|d| used_permille(d.size, d.available)).map(i64::from),
            network: rates.map(|(received, sent)| number(received.saturating_add(sent))),
            uptime: host.uptime_ms.map(number),
        }
    }
}

/// What of `total` is not `available`, in thousandths; None when there is nothing at all.
pub fn used_permille(total: u64, available: u64) -> Option<u32> {
    let used = u128::from(total.saturating_sub(available));
    u32::try_from((used * 1_000).checked_div(u128::from(total))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_unknown() {
        assert_eq!(used_permille(0, 0), None);
        assert_eq!(used_permille(10, 20), Some(0));
        assert_eq!(used_permille(u64::MAX, 0), Some(1_000));
        assert_eq!(Figures::of(&Sample::default()), Figures::default());
    }

    #[test]
    fn figures_are_thousandths() {
        let memory = Memory { total: 1_000, available: Some(250), ..Memory::default() };
        let disk = Disk { size: 200, free: 150, available: 100 };
        let host = Host {
            load_hundredths: Some([123, 0, 0]),
            busy_permille: Some(7),
            memory: Some(memory),
            disk: Some(disk),
            received_bytes_per_second: Some(u64::MAX),
            sent_bytes_per_second: Some(1),
            ..Host::default()
        };
        let figures = Figures::of(&Sample { host: Some(host), agent: None });
        let expected = Figures {
            load: Some(1_230),
            cpu: Some(7),
            memory: Some(750),
            disk: Some(500),
            network: Some(i64::MAX),
            uptime: None,
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn what_an_older_server_stored_can_be_read() {
        let sample: Sample = serde_json::from_str(r#"{"host":{"cores":2},"more":1}"#).unwrap();
        assert_eq!(sample.host.unwrap().cores, Some(2));
    }
}
