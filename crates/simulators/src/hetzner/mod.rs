//! Hetzner Cloud's API v1: servers with their actions, SSH keys, volumes, and the catalogue.
//!
//! Oddities kept: ids are numbers; names are unique; deleting works on a running server and is an action; volumes
//! outlive their server; an action only says that a shutdown was asked for; lists come in pages of at most 50; every
//! answer tells the rate limit.

mod catalogue;
mod order;
mod routes;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::front::Front;
use crate::time::SimulatedTime;
pub use world::Switches;

/// The token that is accepted.
pub const TOKEN: &str = "hcloud-SIMULATED";
/// A token that may only read.
pub const READ_ONLY_TOKEN: &str = "hcloud-READ-ONLY";

/// What routes work on.
pub struct Inner {
    world: Mutex<world::World>,
    time: Arc<SimulatedTime>,
}

/// A simulated project at Hetzner.
pub struct HetznerSimulator {
    /// Where to call, and how to make trouble.
    pub front: Front,
    /// Its clock.
    pub time: Arc<SimulatedTime>,
    inner: Arc<Inner>,
}

impl HetznerSimulator {
    /// Listens on a free port of loopback, with a clock of its own.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), Arc::new(SimulatedTime::manual())).await
    }

    /// Listens somewhere.
    pub async fn start_at(address: SocketAddr, time: Arc<SimulatedTime>) -> io::Result<Self> {
        let inner = Arc::new(Inner { world: Mutex::default(), time: time.clone() });
        let front = Front::open(address, routes::routes(inner.clone()), time.clone()).await?;
        Ok(Self { front, time, inner })
    }

    /// Changes what the project can do.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        let mut world = self.inner.world();
        change(&mut world.switches);
        world.allowance = None;
    }

    /// Servers that exist.
    pub fn servers(&self) -> usize {
        self.inner.world().servers.len()
    }

    /// Volumes that exist, attached or not.
    pub fn volumes(&self) -> usize {
        self.inner.world().volumes.len()
    }

    /// SSH keys that exist.
    pub fn ssh_keys(&self) -> usize {
        self.inner.world().ssh_keys.len()
    }

    /// A person attaches a volume to a server.
    pub fn attach_volume(&self, server: &str) {
        let mut world = self.inner.world();
        let id = world.number();
        let server = server.parse().ok();
        let volume = world::Volume { id, name: format!("volume-{id}"), size: 10, server, labels: Default::default() };
        world.volumes.insert(id, volume);
    }

    /// A person protects a server against deletion.
    pub fn protect(&self, server: &str, protected: bool) {
        let mut world = self.inner.world();
        if let Some(server) = server.parse().ok().and_then(|id: u64| world.servers.get_mut(&id)) {
            server.protected = protected;
        }
    }

    /// What the server was told to run at its first start, by name.
    pub fn user_data(&self, name: &str) -> Option<String> {
        self.inner.world().servers.values().find(|s| s.name == name).map(|s| s.user_data.clone())
    }

    /// A person deletes all SSH keys.
    pub fn forget_ssh_keys(&self) {
        self.inner.world().ssh_keys.clear();
    }

    /// The server is gone, as when a person deletes it in the vendor's console.
    pub fn vanish(&self, server: &str) {
        if let Ok(id) = server.parse() {
            self.inner.world().remove(id);
        }
    }
}
