//! What the node tells about its machine.

use std::fs;

use serde_json::json;

/// Facts as a JSON object. Sources that cannot be read are left out.
pub fn collect() -> String {
    let uname = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    let mut facts = json!({
        "hostname": text(uname.nodename()),
        "os": os_name(),
        "kernel": text(uname.release()),
        "arch": text(uname.machine()),
        "cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "agent_version": crate::VERSION,
    });
    if let Some(bytes) = memory_bytes(&read("/proc/meminfo")) {
        facts["memory_bytes"] = bytes.into();
    }
    if let Some(boot_id) = boot_id() {
        facts["boot_id"] = boot_id.into();
    }
    facts.to_string()
}

/// Differs after each boot of the machine.
pub fn boot_id() -> Option<String> {
    let id = read("/proc/sys/kernel/random/boot_id");
    (!id.trim().is_empty()).then(|| id.trim().to_owned())
}

fn os_name() -> String {
    for path in ["/host/etc/os-release", "/etc/os-release"] {
        if let Some(name) = pretty_name(&read(path)) {
            return name;
        }
    }
    std::env::consts::OS.to_owned()
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_an_object_with_the_basics() {
        let facts: serde_json::Value = serde_json::from_str(&collect()).unwrap();
        for name in ["hostname", "os", "kernel", "arch", "cpus", "memory_bytes", "boot_id"] {
            assert!(!facts[name].is_null(), "{name}");
        }
    }

    #[test]
    fn sources_are_parsed() {
        assert_eq!(memory_bytes("MemFree: 1 kB\n"), None);
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n").as_deref(), Some("Debian GNU/Linux 12"));
    }
}
