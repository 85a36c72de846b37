//! Processes an earlier agent left behind when it died in mid command.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::facts::boot_id;
use crate::record::Spawned;

/// Environment variable that marks the processes of an execution.
pub const MARK: &str = "REEVE_EXECUTION_ID";

/// Kills what is left of an execution and returns how many processes were found. The process group is killed only
/// when its leader is still the process that was started; every other process is recognised by its environment.
pub fn kill(execution_id: &str, spawned: Option<&Spawned>) -> usize {
    let mut found = 0;
    if let Some(spawned) = spawned
        && boot_id().is_none_or(|boot| boot == spawned.boot_id)
        && start_ticks(spawned.pid) == Some(spawned.start_ticks)
        && let Some(pid) = Pid::from_raw(spawned.pid)
        && kill_process_group(pid, Signal::KILL).is_ok()
    {
        found += 1;
    }
    for pid in marked(execution_id) {
        if let Some(pid) = Pid::from_raw(pid)
            && kill_process(pid, Signal::KILL).is_ok()
        {
            found += 1;
        }
    }
    found
}

/// Clock ticks between boot and the start of a process; `None` when there is no such process.
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn marked(execution_id: &str) -> Vec<i32> {
    let mark = format!("{MARK}={execution_id}");
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == mark.as_bytes()))
        })
        .collect()
}
