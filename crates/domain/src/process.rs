//! What the kernel tells about this process. Linux; elsewhere everything is unknown.

use std::fs;

/// The process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Program text.
    pub text_bytes: Option<u64>,
    /// Open files and sockets.
    pub open_files: Option<u64>,
    /// Asynchronous tasks that are alive.
    pub tasks: Option<u64>,
}

/// This process, as it is.
pub fn this() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tasks = tokio::runtime::Handle::try_current().ok().map(|handle| handle.metrics().num_alive_tasks());
    Process {
        resident_bytes: bytes(&status, "VmRSS:"),
        text_bytes: bytes(&status, "VmExe:"),
        open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        tasks: tasks.and_then(|tasks| u64::try_from(tasks).ok()),
    }
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let process = this();
        assert!(process.resident_bytes.unwrap() > 1 << 20 && process.text_bytes.unwrap() > 1 << 10);
        assert!(process.open_files.unwrap() >= 3);
        assert_eq!(process.tasks, None);
    }
}
