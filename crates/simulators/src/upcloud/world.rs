//! What exists in the simulated account, and how it changes with time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use reeve_types::Timestamp;
use serde_json::{Value, json};

use super::catalogue;

/// How long things take here (ms). The original took about 55 s in a recording.
pub const CREATE_MS: i64 = 55_000;
const SOFT_STOP_MS: i64 = 12_000;
const HARD_STOP_MS: i64 = 3_000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Phase {
    Maintenance {
        until: Timestamp,
    },
    Started,
    /// Still shown as started.
    Stopping {
        at: Timestamp,
    },
    Stopped,
    Error {
        until: Timestamp,
    },
}

#[derive(Clone)]
pub struct Server {
    pub uuid: String,
    pub hostname: String,
    pub title: String,
    pub plan: String,
    pub zone: String,
    pub phase: Phase,
    pub created: Timestamp,
    pub labels: Vec<(String, String)>,
    pub interfaces: Vec<(String, String, String)>,
    pub storages: Vec<String>,
    pub user_data: String,
    pub metadata: String,
    pub ssh_keys: Vec<String>,
}

#[derive(Clone)]
pub struct Storage {
    pub uuid: String,
    pub title: String,
    pub size: u64,
    pub tier: String,
    pub zone: String,
    pub server: Option<String>,
}

/// What can be set from outside.
#[derive(Clone, Copy)]
pub struct Switches {
    /// Servers that the account may have.
    pub server_limit: usize,
    /// Credit is left.
    pub credit: bool,
    /// The data centres have room.
    pub capacity: bool,
    /// Systems inside obey a soft stop.
    pub obedient: bool,
    /// Servers younger than this (ms) are missing from lists.
    pub lists_lag_ms: i64,
}

pub struct World {
    pub servers: BTreeMap<String, Server>,
    pub storages: BTreeMap<String, Storage>,
    pub switches: Switches,
    /// Public addresses that are given to servers, the first free one first; made up once none is left.
    pub addresses: Vec<Ipv4Addr>,
    next: u64,
}

impl Default for World {
    fn default() -> Self {
        let switches = Switches { server_limit: 1000, credit: true, capacity: true, obedient: true, lists_lag_ms: 0 };
        Self { servers: BTreeMap::new(), storages: BTreeMap::new(), switches, addresses: Vec::new(), next: 0 }
    }
}

impl World {
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn uuid(&mut self, kind: u8) -> String {
        format!("{kind:02x}5eed00-0000-4000-8000-{:012x}", self.number())
    }

    /// A given address that no server has.
    pub fn free_address(&self) -> Option<String> {
        let taken = |ip: &String| self.servers.values().any(|s| s.interfaces.iter().any(|(_, _, is)| is == ip));
        self.addresses.iter().map(ToString::to_string).find(|ip| !taken(ip))
    }

    /// Lets time pass.
    pub fn settle(&mut self, now: Timestamp) {
        for server in self.servers.values_mut() {
            server.phase = match server.phase {
                Phase::Maintenance { until } | Phase::Error { until } if until <= now => Phase::Started,
                Phase::Stopping { at } if at <= now => Phase::Stopped,
                phase => phase,
            };
        }
    }

    pub fn stop(&mut self, uuid: &str, soft: bool, timeout_s: i64, now: Timestamp) {
        let obedient = self.switches.obedient;
        if let Some(server) = self.servers.get_mut(uuid) {
            let after = match (soft, obedient) {
                (false, _) => HARD_STOP_MS,
                (true, true) => SOFT_STOP_MS.min(timeout_s * 1000),
                (true, false) => timeout_s * 1000,
            };
            server.phase = Phase::Stopping { at: now.plus_ms(after) };
        }
    }

    /// Removes a server; its disks stay unless asked for.
    pub fn remove(&mut self, uuid: &str, with_storages: bool) {
        if let Some(server) = self.servers.remove(uuid) {
            for storage in server.storages {
                if with_storages {
                    self.storages.remove(&storage);
                } else if let Some(storage) = self.storages.get_mut(&storage) {
                    storage.server = None;
                }
            }
        }
    }

    /// As lists tell it: without addresses, networking and disks.
    pub fn brief(&self, server: &Server) -> Value {
        let plan = catalogue::plan(&server.plan);
        let labels: Vec<Value> = server.labels.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let state = match server.phase {
            Phase::Maintenance { .. } => "maintenance",
            Phase::Started | Phase::Stopping { .. } => "started",
            Phase::Stopped => "stopped",
            Phase::Error { .. } => "error",
        };
        json!({
            "core_number": plan.map_or(1, |p| p.1).to_string(),
            "created": server.created.as_secs(),
            "hostname": server.hostname,
            "labels": {"label": labels},
            "license": 0,
            "memory_amount": plan.map_or(1024, |p| p.2).to_string(),
            "plan": server.plan,
            "plan_ipv4_bytes": "0",
            "plan_ipv6_bytes": "0",
            "simple_backup": "no",
            "state": state,
            "tags": {"tag": []},
            "title": server.title,
            "uuid": server.uuid,
            "zone": server.zone,
        })
    }

    /// As a single answer tells it. `host` is missing at creation.
    pub fn detail(&self, server: &Server, fresh: bool) -> Value {
        let mut detail = self.brief(server);
        let address =
            |(kind, family, ip): &(String, String, String)| json!({"access": kind, "address": ip, "family": family});
        let interface = |(index, (kind, family, ip)): (usize, &(String, String, String))| {
            json!({"index": index + 1, "type": kind, "mac": "de:ff:ff:ff:00:01", "network": "03000000-0000-4000-8000-000000000001",
                   "source_ip_filtering": "yes", "bootable": "no",
                   "ip_addresses": {"ip_address": [{"address": ip, "family": family, "floating": "no"}]}})
        };
        let device = |uuid: &String| {
            let storage = &self.storages[uuid];
            json!({"address": "virtio:0", "boot_disk": "0", "labels": [], "part_of_plan": "yes", "storage": uuid,
                   "storage_encrypted": "no", "storage_size": storage.size, "storage_tier": storage.tier,
                   "storage_title": storage.title, "type": "disk"})
        };
        let interfaces: Vec<Value> = server.interfaces.iter().enumerate().map(interface).collect();
        detail["boot_order"] = json!("disk");
        detail["firewall"] = json!("off");
        detail["ip_addresses"] = json!({"ip_address": server.interfaces.iter().map(address).collect::<Vec<_>>()});
        detail["metadata"] = json!(server.metadata);
        detail["networking"] = json!({"interfaces": {"interface": interfaces}});
        detail["nic_model"] = json!("virtio");
        detail["progress"] = json!(if matches!(server.phase, Phase::Maintenance { .. }) { "0" } else { "100" });
        detail["remote_access_enabled"] = json!("no");
        detail["storage_devices"] = json!({"storage_device": server.storages.iter().map(device).collect::<Vec<_>>()});
        detail["timezone"] = json!("UTC");
        detail["video_model"] = json!("vga");
        if fresh {
            detail["username"] = json!("root");
        } else {
            detail["host"] = json!(8_000_000_001_u64);
        }
        detail
    }

    pub fn storage(&self, storage: &Storage) -> Value {
        let servers: Vec<&String> = storage.server.iter().collect();
        json!({"access": "private", "encrypted": "no", "labels": [], "license": 0, "part_of_plan": "yes",
               "servers": {"server": servers}, "backups": {"backup": []},
               "size": storage.size, "state": "online", "tier": storage.tier, "title": storage.title,
               "type": "normal", "uuid": storage.uuid, "zone": storage.zone})
    }
}
