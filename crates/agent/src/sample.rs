//! Measures the machine and this process: a handful of files below `/proc` and one `statvfs`.
//!
//! What cannot be read is left out, so that a gap looks like a gap.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use reeve_agent_proto::sample::{Agent, CpuTime, Disk, Host, Interface, MAX_CPUS, MAX_INTERFACES, Memory, Sample};
use tokio::time::{Duration, Instant};

use crate::counters::Counters;

/// Shares and rates are taken over at least this time; over less they would be noise.
const SHORTEST_SPAN: Duration = Duration::from_millis(500);
/// Longest name of an interface; the kernel's are shorter.
const MAX_NAME: usize = 32;
/// Hundredths of a second: what `/proc/stat` counts in, on every architecture with a Linux user space.
const TICKS_PER_SECOND: u64 = 100;

/// Takes samples. Knows the one before, for shares and rates.
#[derive(Clone)]
pub struct Sampler {
    counters: Arc<Counters>,
    began: Instant,
    before: Arc<Mutex<Before>>,
}

/// The sample before: where its shares and rates ended, and what they were.
#[derive(Default)]
struct Before {
    totals: Option<Totals>,
    busy_permille: Option<u32>,
    received: Option<u64>,
    sent: Option<u64>,
}

/// What has been spent and moved up to a moment.
#[derive(Clone, Copy)]
struct Totals {
    at: Instant,
    busy: u64,
    idle: u64,
    received: u64,
    sent: u64,
}

impl Sampler {
    /// Starts measuring.
    pub fn new(counters: Arc<Counters>) -> Self {
        let sampler = Self { counters, began: Instant::now(), before: Arc::default() };
        sampler.since_before(&mut host(), sampler.began);
        sampler
    }

    /// Measures. Blocks for as long as the kernel takes to tell, which on a file system that hangs can be long.
    pub fn take(&self, tasks: Option<u64>) -> Sample {
        let mut host = host();
        self.since_before(&mut host, Instant::now());
        let count = &self.counters;
        let agent = Agent {
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            resident_bytes: status_bytes(&read("/proc/self/status"), "VmRSS:"),
            tasks,
            commands_accepted: count.accepted.get(),
            commands_completed: count.completed.get(),
            commands_expired: count.expired.get(),
            results_stored: count.stored.get(),
            commands_queued: count.queued.get(),
            commands_running: count.running.get(),
            results_waiting: count.waiting.get(),
            syncs: count.syncs.get(),
            heartbeats: count.heartbeats.get(),
            dials: count.dials.get(),
        };
        Sample { host: Some(host), agent: Some(agent) }
    }

    fn since_before(&self, host: &mut Host, at: Instant) {
        let now = totals(host, at);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        match before.totals {
            // Two who ask at the same time are told the same.
            Some(then) if now.at.saturating_duration_since(then.at) < SHORTEST_SPAN => {}
            Some(then) => {
                *before = between(then, now);
                before.totals = Some(now);
            }
            None => before.totals = Some(now),
        }
        host.busy_permille = before.busy_permille;
        host.received_bytes_per_second = before.received;
        host.sent_bytes_per_second = before.sent;
    }
}

/// Counters that went backwards (an interface or a processor was taken away) say nothing.
fn between(then: Totals, now: Totals) -> Before {
    let span_ms = now.at.saturating_duration_since(then.at).as_millis().max(1);
    let per_second = |now: u64, then: u64| u64::try_from(u128::from(now.checked_sub(then)?) * 1_000 / span_ms).ok();
    let spent = now.busy.checked_sub(then.busy).zip(now.idle.checked_sub(then.idle));
    let share = |(busy, idle): (u64, u64)| u32::try_from((busy * 1_000).checked_div(busy + idle)?).ok();
    Before {
        totals: None,
        busy_permille: spent.and_then(share),
        received: per_second(now.received, then.received),
        sent: per_second(now.sent, then.sent),
    }
}

fn totals(host: &Host, at: Instant) -> Totals {
    let busy = |c: &CpuTime| c.user + c.nice + c.system + c.irq + c.softirq + c.steal;
    Totals {
        at,
        busy: host.cpus.iter().map(busy).sum(),
        idle: host.cpus.iter().map(|c| c.idle + c.iowait).sum(),
        received: host.interfaces.iter().map(|i| i.received_bytes).sum(),
        sent: host.interfaces.iter().map(|i| i.sent_bytes).sum(),
    }
}

fn host() -> Host {
    let (cores, cpus) = processors(&read("/proc/stat"));
    let (load_hundredths, running_processes) = load(&read("/proc/loadavg")).unzip();
    Host {
        cores: (cores > 0).then_some(cores),
        load_hundredths: load_hundredths.map(Vec::from).unwrap_or_default(),
        running_processes,
        uptime_ms: uptime_ms(&read("/proc/uptime")),
        memory: memory(&read("/proc/meminfo")),
        disk: disk(),
        cpus,
        interfaces: interfaces(&read("/proc/net/dev")),
        ..Host::default()
    }
}

/// How many processors there are, and the time of the first of them.
fn processors(stat: &str) -> (u32, Vec<CpuTime>) {
    let mut cores = 0;
    let mut cpus = Vec::new();
    for line in stat.lines() {
        // The line `cpu` without a number is the sum.
        let Some((number, rest)) = line.strip_prefix("cpu").and_then(|l| l.split_once(' ')) else { continue };
        let Ok(number) = number.parse() else { continue };
        cores += 1;
        if cpus.len() >= MAX_CPUS {
            continue;
        }
        let mut ticks = rest.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let mut next = || ticks.next().unwrap_or(0) * (100 / TICKS_PER_SECOND);
        let (user, nice, system, idle) = (next(), next(), next(), next());
        let (iowait, irq, softirq, steal) = (next(), next(), next(), next());
        cpus.push(CpuTime { user, nice, system, idle, iowait, irq, softirq, steal, number });
    }
    (cores, cpus)
}

/// Load averages in hundredths, and how many processes can run: `0.52 0.58 0.59 1/467 12345`.
fn load(loadavg: &str) -> Option<([u32; 3], u64)> {
    let mut words = loadavg.split_whitespace();
    let mut average = || hundredths(words.next()?);
    let load = [average()?, average()?, average()?];
    let running = words.next()?.split('/').next()?.parse().ok()?;
    Some((load, running))
}

/// `12.34` as 1234; more digits are cut.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("00".chars()).take(2).collect();
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(digits.parse().ok()?)
}

fn uptime_ms(uptime: &str) -> Option<u64> {
    // Machines run for years: in hundredths that is more than 32 bits after 497 days.
    let (whole, fraction) = uptime.split_whitespace().next()?.split_once('.')?;
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(digits.parse().ok()?)
}

fn memory(meminfo: &str) -> Option<Memory> {
    let bytes = |name| status_bytes(meminfo, name);
    Some(Memory {
        total: bytes("MemTotal:")?,
        available: bytes("MemAvailable:"),
        free: bytes("MemFree:"),
        buffers: bytes("Buffers:"),
        cached: bytes("Cached:"),
        swap_total: bytes("SwapTotal:"),
        swap_free: bytes("SwapFree:"),
    })
}

/// The value of a line `name  123 kB`, in bytes.
fn status_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The machine's root: in a container that has it mounted, below `/host`.
fn disk() -> Option<Disk> {
    let root = if Path::new("/host/etc/os-release").exists() { "/host" } else { "/" };
    let found = rustix::fs::statvfs(root).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk { size: bytes(found.f_blocks), free: bytes(found.f_bfree), available: bytes(found.f_bavail) })
}

/// `eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs ...`
fn interfaces(dev: &str) -> Vec<Interface> {
    let mut found = Vec::new();
    for line in dev.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let name = name.trim();
        if name == "lo" || name.len() > MAX_NAME || found.len() >= MAX_INTERFACES {
            continue;
        }
        let numbers: Vec<u64> = rest.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if let [rb, rp, re, _, _, _, _, _, sb, sp, se, ..] = numbers[..] {
            found.push(Interface {
                name: name.to_owned(),
                received_bytes: rb,
                received_packets: rp,
                received_errors: re,
                sent_bytes: sb,
                sent_packets: sp,
                sent_errors: se,
            });
        }
    }
    found
}

/// A file's text; empty when it cannot be read. Bounded, because `/proc/stat` can be long on a large machine.
fn read(path: &str) -> String {
    let mut text = String::new();
    let file = fs::File::open(path).map(|file| file.take(256 * 1024));
    match file.and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(error) => {
            tracing::debug!(path, %error, "cannot be measured");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_one_by_one() {
        let stat = "cpu  30 0 20 100 5 0 1 2 0 0\ncpu0 10 0 10 50 5 0 1 2 0 0\ncpu7 20 0 10 50\nintr 1 2 3\n";
        let (cores, cpus) = processors(stat);
        assert_eq!((cores, cpus.len()), (2, 2));
        assert_eq!((cpus[0].user, cpus[0].iowait, cpus[0].steal), (10, 5, 2));
        assert_eq!((cpus[1].number, cpus[1].idle, cpus[1].steal), (7, 50, 0));
        assert_eq!(processors(""), (0, Vec::new()));
    }

    #[test]
    fn many_processors_are_counted_and_only_some_described() {
        let stat: String = (0..1000).map(|n| format!("cpu{n} 1 1 1 1 1 1 1 1\n")).collect();
        let (cores, cpus) = processors(&stat);
        assert_eq!((cores, cpus.len()), (1000, MAX_CPUS));
    }

    #[test]
    fn load_and_uptime() {
        assert_eq!(load("0.52 10.58 3.00 2/467 12345\n"), Some(([52, 1058, 300], 2)));
        assert_eq!(load("0.52 10.58\n"), None);
        assert_eq!(uptime_ms("90061.25 1.00\n"), Some(90_061_250));
        assert_eq!(uptime_ms("63072000.07 1.00\n"), Some(63_072_000_070), "two years");
        assert_eq!(uptime_ms(""), None);
        assert_eq!((hundredths("7"), hundredths("7.5"), hundredths("x")), (Some(700), Some(750), None));
    }

    #[test]
    fn interfaces_without_the_loopback() {
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n";
        let found = interfaces(dev);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].received_bytes, found[0].sent_errors), ("eth0", 100, 5));
        assert!(interfaces("eth0: 1 2\nnonsense").is_empty());
    }

    #[test]
    fn shares_are_taken_over_the_time_since_the_sample_before() {
        let cpu = |user, idle| Host { cpus: vec![CpuTime { user, idle, ..CpuTime::default() }], ..Host::default() };
        let (counters, before) = (Arc::default(), Arc::default());
        let sampler = Sampler { counters, began: Instant::now(), before };
        let busy_at = |ms, mut host| {
            sampler.since_before(&mut host, sampler.began + Duration::from_millis(ms));
            host.busy_permille
        };
        assert_eq!(busy_at(0, cpu(100, 100)), None);
        assert_eq!(busy_at(100, cpu(101, 100)), None);
        assert_eq!(busy_at(2_000, cpu(150, 250)), Some(250));
        assert_eq!(busy_at(2_100, cpu(160, 250)), Some(250));
        assert_eq!(busy_at(4_000, cpu(10, 10)), None);
    }

    #[test]
    fn rates_are_per_second() {
        let at = Instant::now();
        let then = Totals { at, busy: 0, idle: 0, received: 1_000, sent: 500 };
        let now = Totals { at: at + Duration::from_secs(2), received: 5_000, sent: 400, ..then };
        let rates = between(then, now);
        assert_eq!((rates.received, rates.sent, rates.busy_permille), (Some(2_000), None, None));
    }

    #[test]
    fn this_machine_can_be_measured() {
        let sample = Sampler::new(Arc::default()).take(Some(1));
        let (host, agent) = (sample.host.unwrap(), sample.agent.unwrap());
        assert!(host.cores.unwrap() > 0 && host.load_hundredths.len() == 3 && host.uptime_ms.unwrap() > 0);
        assert!(host.memory.unwrap().total > 1 << 20 && host.disk.unwrap().size > 1 << 20);
        assert!(agent.resident_bytes.unwrap() > 100_000);
    }
}
