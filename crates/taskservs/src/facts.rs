//! What a machine says about itself before anything is made for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The script that asks: plain sh, changes nothing, needs no rights. Its output is read by [`Facts::parse`].
pub const PROBE: &str = include_str!("../catalogue/_common/probe.sh");

/// What a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `debian`, `ubuntu`, ... as in os-release.
    pub os: String,
    /// `12`, `24.04`, ...
    pub os_version: String,
    /// `bookworm`, `noble`, ...
    pub os_codename: String,
    /// `amd64`, `arm64`, or what the machine calls itself.
    pub arch: String,
    /// `systemd` or `none`.
    pub init: String,
    /// 1, or 2 when there is nothing but the unified hierarchy.
    pub cgroup: u8,
    /// Processors.
    pub cores: u64,
    /// Memory.
    pub memory_mb: u64,
    /// Free space where `/var` is.
    pub disk_mb: u64,
    /// The rights are there: root, or sudo without a password.
    pub root: bool,
    /// The kernel's release.
    pub kernel: String,
}

impl Facts {
    /// Reads `key=value` lines; what is absent or nonsense stays empty.
    pub fn parse(output: &str) -> Self {
        let map: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
        let text = |key: &str| {
            let value = map.get(key).copied().unwrap_or_default();
            value.chars().filter(|c| c.is_ascii_alphanumeric() || "._+~-".contains(*c)).take(64).collect::<String>()
        };
        let number = |key: &str| text(key).parse().unwrap_or(0);
        Self {
            os: text("os"),
            os_version: text("os_version"),
            os_codename: text("os_codename"),
            arch: text("arch"),
            init: text("init"),
            cgroup: u8::try_from(number("cgroup")).unwrap_or(0),
            cores: number("cores"),
            memory_mb: number("memory_mb"),
            disk_mb: number("disk_mb"),
            root: text("root") == "yes",
            kernel: text("kernel"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_stays_out() {
        let facts = Facts::parse("os=debian\narch=am$(x)d64\ncores=two\nmemory_mb=512\nroot=yes\ncgroup=300\n\0=1\n");
        assert_eq!((facts.os.as_str(), facts.arch.as_str(), facts.cores), ("debian", "amxd64", 0));
        assert_eq!((facts.memory_mb, facts.root, facts.cgroup), (512, true, 0));
    }
}
