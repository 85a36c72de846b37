//! Sizes of hosts: `2xCPU-4GB`.

use reeve_ports::CloudError;
use reeve_ports::cloud::{Plan, Price};

/// How much a host may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Processors.
    pub cpu_cores: u32,
    /// Memory in GB (of 1024 MiB).
    pub memory_gb: u32,
}

/// What is listed; every other size that can be written goes too.
const LISTED: [Size; 6] = [size(1, 1), size(1, 2), size(2, 2), size(2, 4), size(4, 8), size(8, 16)];

const fn size(cpu_cores: u32, memory_gb: u32) -> Size {
    Size { cpu_cores, memory_gb }
}

impl Size {
    /// Reads a plan. Invalid (`plan`) says how they are written.
    pub fn parse(plan: &str) -> Result<Self, CloudError> {
        let read = || {
            let (cpu, memory) = plan.split_once("xCPU-")?;
            let number = |text: &str, most: u32| {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
                text.parse::<u32>().ok().filter(|n| digits && *n <= most)
            };
            Some(size(number(cpu, 256)?, number(memory.strip_suffix("GB")?, 4096)?))
        };
        read().ok_or_else(|| {
            CloudError::invalid(
                "plan",
                format!("there is no local plan {plan:?}; plans are written as 2xCPU-4GB, with 1 to 256 CPUs and 1 to 4096 GB"),
            )
        })
    }

    /// As it is listed.
    pub fn plan(self) -> Plan {
        Plan {
            name: format!("{}xCPU-{}GB", self.cpu_cores, self.memory_gb),
            cpu_cores: self.cpu_cores,
            memory_mib: u64::from(self.memory_gb) * 1024,
            disk_gb: None,
            architecture: Some(architecture().to_owned()),
            zones: Some(vec![super::cloud::ZONE.to_owned()]),
            prices: vec![free()],
        }
    }

    /// What is listed.
    pub fn listed() -> impl Iterator<Item = Plan> {
        LISTED.into_iter().map(Self::plan)
    }
}

/// The machine is there anyway.
pub fn free() -> Price {
    Price { zone: super::cloud::ZONE.to_owned(), per_hour_micros: 0, currency: None }
}

/// This machine's, as clouds call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_as_they_are_written() {
        for plan in Size::listed() {
            assert_eq!(Size::parse(&plan.name).unwrap().plan(), plan);
        }
        assert_eq!(Size::parse("3xCPU-7GB").unwrap(), size(3, 7));
        for bad in [
            "",
            "huge",
            "0xCPU-1GB",
            "1xCPU-0GB",
            "+1xCPU-1GB",
            "1xCPU-1gb",
            "01xCPU-1GB",
            "257xCPU-1GB",
            "9999999999xCPU-1GB",
        ] {
            assert!(Size::parse(bad).unwrap_err().to_string().contains("2xCPU-4GB"), "{bad}");
        }
    }
}
