//! What a cloud tells: machines, sizes, places, systems.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reeve_types::Timestamp;

/// Labels of a machine. Values may be anything the vendor lets people write; only ours are portable.
pub type Labels = BTreeMap<String, String>;

/// The vendor's id of a machine: a UUID, a number, `i-…`. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloudServerId(pub String);

impl CloudServerId {
    /// The id as stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CloudServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for CloudServerId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// Ordered, not up yet.
    Creating,
    /// Switched on. Whether somebody inside answers is another question.
    Running,
    /// Switched off; most vendors go on billing.
    Stopped,
    /// Between two states (starting, stopping, or on some vendors creating too): ask again.
    Changing,
    /// On its way out; it does not come back.
    Deleting,
    /// The vendor reports a fault; some clear by themselves.
    Failed,
    /// A word we do not know.
    Unknown,
}

impl std::fmt::Display for ServerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ServerState::Creating => "being made",
            ServerState::Running => "running",
            ServerState::Stopped => "stopped",
            ServerState::Changing => "changing its state",
            ServerState::Deleting => "being deleted",
            ServerState::Failed => "failed",
            ServerState::Unknown => "in a state that its provider does not explain",
        })
    }
}

/// An address of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// IPv4 or IPv6. Where a vendor hands out a whole IPv6 network: the address the machine takes for itself.
    pub ip: IpAddr,
    /// Reachable from the internet.
    pub public: bool,
}

/// A machine as the vendor tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudServer {
    /// The vendor's id.
    pub id: CloudServerId,
    /// The name it was ordered with.
    pub hostname: String,
    /// The vendor's word for its size.
    pub plan: String,
    /// Where it is.
    pub zone: String,
    /// What it is doing.
    pub state: ServerState,
    /// None: this answer does not tell. Empty: it has none (yet).
    pub addresses: Option<Vec<Address>>,
    /// All its labels.
    pub labels: Labels,
    /// When it was ordered, where told.
    pub created_at: Option<Timestamp>,
}

impl CloudServer {
    /// The address to reach it by: public before private, IPv4 before IPv6.
    pub fn address(&self) -> Option<IpAddr> {
        let addresses = self.addresses.as_deref().unwrap_or_default();
        addresses.iter().min_by_key(|a| (!a.public, a.ip.is_ipv6())).map(|a| a.ip)
    }
}

/// Money for an hour of a plan in one zone, without tax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The zone it holds in.
    pub zone: String,
    /// Millionths of the currency for each hour.
    pub per_hour_micros: u64,
    /// ISO 4217; None when the vendor bills in the account's currency and does not name it.
    pub currency: Option<String>,
}

/// A size of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The vendor's word: `2xCPU-4GB`, `cx23`, `t3.medium`.
    pub name: String,
    /// Virtual CPUs.
    pub cpu_cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk that comes with it, in GB. None: disks are apart.
    pub disk_gb: Option<u64>,
    /// `x86_64` or `arm64`, where told.
    pub architecture: Option<String>,
    /// Where it can be had. None: everywhere, or not told.
    pub zones: Option<Vec<String>>,
    /// One for each zone that has one; empty where the vendor does not tell.
    pub prices: Vec<Price>,
}

impl Plan {
    /// What an hour costs in `zone`.
    pub fn price(&self, zone: &str) -> Option<&Price> {
        self.prices.iter().find(|price| price.zone == zone)
    }
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The vendor's word: `de-fra1`, `fsn1`, `eu-west-1a`.
    pub name: String,
    /// For people.
    pub title: String,
    /// False for zones of one customer.
    pub public: bool,
}

/// A system to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The vendor's id.
    pub id: String,
    /// A portable name such as `debian-12` or `ubuntu-24.04` where we know one, else the vendor's. May be given as
    /// [`super::ServerSpec::image`], as may the id.
    pub name: String,
    /// For people.
    pub title: String,
    /// `x86_64` or `arm64`, where told.
    pub architecture: Option<String>,
    /// Who may log in with the ordered SSH keys.
    pub login_user: String,
}

/// What an order would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The size.
    pub plan: Plan,
    /// The place.
    pub zone: Zone,
    /// The system.
    pub image: Image,
    /// The disk it would start from, in GB, where known.
    pub disk_gb: Option<u64>,
    /// What an hour costs, where the vendor tells.
    pub price: Option<Price>,
    /// A machine with the same operation label exists: `create` would find it instead of ordering.
    pub existing: Option<CloudServer>,
}

/// The outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The machine, most likely still being made.
    pub server: CloudServer,
    /// Who may log in with the ordered SSH keys.
    pub login_user: String,
    /// True when an earlier order had made it.
    pub found: bool,
    /// Machines with the same operation label besides the oldest, which is `server`: an order that was slow to become
    /// visible. The caller deletes them.
    pub surplus: Vec<CloudServerId>,
}

/// How to switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ask the system inside. Where the vendor can, it pulls the plug after the timeout (seconds).
    Soft {
        /// Seconds.
        timeout_s: u32,
    },
    /// Pull the plug.
    Hard,
}

/// How far a removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Under way: call again in a few seconds.
    Pending,
    /// No machine and no disk of it.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_to_reach_it_by() {
        let at = |ip: &str, public| Address { ip: ip.parse().unwrap(), public };
        let with = |addresses| CloudServer {
            id: "1".into(),
            hostname: String::new(),
            plan: String::new(),
            zone: String::new(),
            state: ServerState::Running,
            addresses,
            labels: Labels::new(),
            created_at: None,
        };
        let all = vec![at("10.0.0.2", false), at("2001:db8::1", true), at("192.0.2.7", true)];
        assert_eq!(with(Some(all)).address(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(with(Some(vec![at("10.0.0.2", false)])).address(), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(with(Some(Vec::new())).address(), None);
        assert_eq!(with(None).address(), None);
    }
}
