//! What exists in the simulated project, and how it changes with time.

use std::collections::BTreeMap;

use reeve_types::Timestamp;
use serde_json::{Value, json};

use super::catalogue;

/// How long things take here (ms).
pub const CREATE_MS: i64 = 20_000;
const SWITCH_MS: i64 = 3_000;
const SHUTDOWN_MS: i64 = 10_000;
const DELETE_MS: i64 = 4_000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Status {
    Initializing,
    Starting,
    Running,
    Stopping,
    Off,
    Deleting,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Off => "off",
            Self::Deleting => "deleting",
        }
    }
}

#[derive(Clone)]
pub struct Server {
    pub id: u64,
    pub name: String,
    pub server_type: u64,
    pub location: u64,
    pub image: u64,
    pub status: Status,
    /// What it becomes, and when.
    pub next: Option<(Timestamp, Status)>,
    pub created: Timestamp,
    pub labels: BTreeMap<String, String>,
    pub user_data: String,
    pub ssh_keys: Vec<u64>,
    pub protected: bool,
}

#[derive(Clone)]
pub struct Volume {
    pub id: u64,
    pub name: String,
    pub size: u64,
    pub server: Option<u64>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone)]
pub struct Action {
    pub id: u64,
    command: &'static str,
    started: Timestamp,
    finishes: Timestamp,
    server: u64,
}

/// What can be set from outside.
#[derive(Clone, Copy)]
pub struct Switches {
    /// Servers that the project may have.
    pub server_limit: usize,
    /// The locations have room.
    pub capacity: bool,
    /// Systems inside obey a soft stop.
    pub obedient: bool,
    /// Calls an hour; the allowance is refilled steadily.
    pub calls_per_hour: u32,
}

pub struct World {
    pub servers: BTreeMap<u64, Server>,
    pub volumes: BTreeMap<u64, Volume>,
    /// Name and content by id.
    pub ssh_keys: BTreeMap<u64, (String, String, BTreeMap<String, String>)>,
    pub actions: BTreeMap<u64, Action>,
    pub switches: Switches,
    /// Calls left, in millionths, as of an instant.
    pub allowance: Option<(i64, Timestamp)>,
    next: u64,
}

impl Default for World {
    fn default() -> Self {
        let switches = Switches { server_limit: 1000, capacity: true, obedient: true, calls_per_hour: 3600 };
        Self {
            servers: BTreeMap::new(),
            volumes: BTreeMap::new(),
            ssh_keys: BTreeMap::new(),
            actions: BTreeMap::new(),
            switches,
            allowance: None,
            next: 4_000,
        }
    }
}

impl World {
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets time pass.
    pub fn settle(&mut self, now: Timestamp) {
        let mut gone = Vec::new();
        for server in self.servers.values_mut() {
            if let Some((at, next)) = server.next
                && at <= now
            {
                if server.status == Status::Deleting {
                    gone.push(server.id);
                }
                server.status = next;
                server.next = None;
            }
        }
        for id in gone {
            self.remove(id);
        }
    }

    /// A server goes with its own disk; volumes are only detached.
    pub fn remove(&mut self, id: u64) {
        self.servers.remove(&id);
        for volume in self.volumes.values_mut().filter(|volume| volume.server == Some(id)) {
            volume.server = None;
        }
    }

    /// Takes one call out of the allowance: what is left, or how many seconds until there is one.
    pub fn call(&mut self, now: Timestamp) -> Result<i64, i64> {
        const ONE: i64 = 1_000_000;
        let limit = i64::from(self.switches.calls_per_hour);
        let (left, at) = self.allowance.unwrap_or((limit * ONE, now));
        // limit an hour is limit/3600 a second: that many millionths a microsecond.
        let refilled = (left + (now.0 - at.0) * limit / 3600).min(limit * ONE);
        if refilled < ONE {
            self.allowance = Some((refilled, now));
            return Err(((ONE - refilled) * 3600 / limit.max(1)).div_euclid(ONE) + 1);
        }
        self.allowance = Some((refilled - ONE, now));
        Ok((refilled - ONE) / ONE)
    }

    /// Begins an action on a server, with what the server becomes.
    pub fn act(&mut self, id: u64, command: &'static str, now: Timestamp) -> Value {
        let obedient = self.switches.obedient;
        let mut takes = SWITCH_MS;
        if let Some(server) = self.servers.get_mut(&id) {
            match (command, server.status) {
                ("create_server", _) => {
                    takes = CREATE_MS;
                    server.next = Some((now.plus_ms(takes), Status::Running));
                }
                ("delete_server", _) => {
                    takes = DELETE_MS;
                    (server.status, server.next) = (Status::Deleting, Some((now.plus_ms(takes), Status::Deleting)));
                }
                ("start_server", Status::Off) => {
                    (server.status, server.next) = (Status::Starting, Some((now.plus_ms(takes), Status::Running)));
                }
                ("stop_server", Status::Running | Status::Starting | Status::Stopping) => {
                    (server.status, server.next) = (Status::Stopping, Some((now.plus_ms(takes), Status::Off)));
                }
                // The action only sends the signal; the server is running until the system inside is done.
                ("shutdown_server", Status::Running) if obedient => {
                    server.next = Some((now.plus_ms(SHUTDOWN_MS), Status::Off));
                }
                _ => {}
            }
        }
        let action = Action { id: self.number(), command, started: now, finishes: now.plus_ms(takes), server: id };
        let shown = self.action(&action, now);
        self.actions.insert(action.id, action);
        shown
    }

    pub fn action(&self, action: &Action, now: Timestamp) -> Value {
        let done = action.finishes <= now;
        let span = action.finishes.ms_since(action.started).max(1);
        let progress = if done { 100 } else { now.ms_since(action.started) * 100 / span };
        json!({"id": action.id, "command": action.command, "status": if done { "success" } else { "running" },
               "progress": progress, "started": action.started.rfc3339_secs(),
               "finished": done.then(|| action.finishes.rfc3339_secs()), "error": null,
               "resources": [{"id": action.server, "type": "server"}]})
    }

    pub fn server(&self, server: &Server) -> Value {
        let volumes: Vec<u64> = self.volumes.values().filter(|v| v.server == Some(server.id)).map(|v| v.id).collect();
        let of = |id: u64| catalogue::TYPES.iter().find(|t| t.0 == id).map(catalogue::server_type);
        let at = |id: u64| catalogue::LOCATIONS.iter().find(|l| l.0 == id).map(catalogue::location);
        let from = |id: u64| catalogue::IMAGES.iter().find(|i| i.0 == id).map(catalogue::image);
        let n = server.id;
        json!({
            "id": n, "name": server.name, "status": server.status.word(), "created": server.created.rfc3339_secs(),
            "public_net": {
                "ipv4": {"id": n + 1_000_000, "ip": format!("198.51.{}.{}", 100 + n / 250 % 100, n % 250 + 1),
                         "blocked": false, "dns_ptr": format!("static.{n}.clients.example")},
                "ipv6": {"id": n + 2_000_000, "ip": format!("2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff),
                         "blocked": false, "dns_ptr": []},
                "floating_ips": [], "firewalls": [],
            },
            "private_net": [], "server_type": of(server.server_type), "location": at(server.location),
            "image": from(server.image), "iso": null, "rescue_enabled": false,
            // An action under way locks it.
            "locked": server.next.is_some() && server.status != Status::Running,
            "backup_window": null, "outgoing_traffic": 0, "ingoing_traffic": 0, "included_traffic": 0,
            "protection": {"delete": server.protected, "rebuild": server.protected}, "labels": server.labels,
            "volumes": volumes, "load_balancers": [], "primary_disk_size": 40, "placement_group": null,
        })
    }

    pub fn volume(&self, volume: &Volume) -> Value {
        json!({"id": volume.id, "name": volume.name, "size": volume.size, "server": volume.server,
               "status": "available", "format": null, "linux_device": format!("/dev/disk/by-id/scsi-0HC_Volume_{}", volume.id),
               "location": catalogue::location(&catalogue::LOCATIONS[0]), "protection": {"delete": false},
               "labels": volume.labels, "created": "2026-03-01T12:00:00Z"})
    }
}
