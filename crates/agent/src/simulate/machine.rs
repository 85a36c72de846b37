//! What a virtual agent claims to measure: a machine made up from a number, whose load wanders.

use reeve_agent_proto::backoff::Jitter;
use reeve_agent_proto::sample::{Agent, CpuTime, Disk, Host, Interface, Memory, Sample};

const GIB: u64 = 1 << 30;
/// What an agent of ours takes.
const RESIDENT: u64 = 3 << 20;

/// A sample of the machine `seed`, with `agent` as it stands.
pub(super) fn sample(seed: u64, mut agent: Agent, jitter: &mut Jitter) -> Sample {
    let cores = 1_u32 << (seed % 5);
    let memory = u64::from(cores) * 2 * GIB;
    let disk = 20 * GIB + (seed >> 8) % (200 * GIB);
    let busy = 20 + u32::try_from((seed >> 16) % 600 + jitter.up_to(300)).unwrap_or_default();
    let used = memory / 1_000 * (200 + (seed >> 24) % 500 + jitter.up_to(100));
    let free = disk / 1_000 * (100 + (seed >> 32) % 700);
    let uptime_ms = (seed >> 40) % 1_000 * 86_400_000 + agent.uptime_ms;
    let load = busy * cores / 10;
    let ticks = uptime_ms / 10;
    let spent = ticks / 1_000 * u64::from(busy);
    let cpu = |number| CpuTime { number, user: spent, idle: ticks - spent, ..CpuTime::default() };
    let rate = (seed >> 48) % 1_000_000;
    let moved = rate * (uptime_ms / 1_000);
    agent.resident_bytes = Some(RESIDENT);
    let host = Host {
        cores: Some(cores),
        load_hundredths: vec![load, load * 9 / 10, load * 8 / 10],
        running_processes: Some(1),
        uptime_ms: Some(uptime_ms),
        memory: Some(Memory {
            total: memory,
            available: Some(memory - used),
            free: Some((memory - used) / 2),
            buffers: Some(0),
            cached: Some((memory - used) / 2),
            swap_total: Some(0),
            swap_free: Some(0),
        }),
        disk: Some(Disk { size: disk, free, available: free }),
        cpus: (0..cores).map(cpu).collect(),
        interfaces: vec![Interface {
            name: "eth0".into(),
            received_bytes: moved,
            received_packets: moved / 1_000,
            sent_bytes: moved / 2,
            sent_packets: moved / 2_000,
            ..Interface::default()
        }],
        busy_permille: Some(busy),
        received_bytes_per_second: Some(rate),
        sent_bytes_per_second: Some(rate / 2),
    };
    Sample { host: Some(host), agent: Some(agent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_possible() {
        let mut jitter = Jitter::new(1);
        for _ in 0..2_000 {
            let host = sample(jitter.next_u64(), Agent::default(), &mut jitter).host.unwrap();
            let (memory, disk) = (host.memory.unwrap(), host.disk.unwrap());
            assert!(memory.available.unwrap() < memory.total && disk.free < disk.size);
            assert!(host.busy_permille.unwrap() <= 1_000);
        }
    }
}
