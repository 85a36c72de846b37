//! UpCloud's API 1.3: servers, their disks, and the catalogue.
//!
//! Oddities kept: lists are wrapped twice and carry no addresses; booleans are words and many numbers strings; `create`
//! answers 202 in `maintenance`; `stop` answers while the server is still `started`; a running server cannot be
//! deleted, and deleting leaves its disks unless `storages=1`; two kinds of error body.

mod catalogue;
mod order;
mod routes;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::front::Front;
use crate::time::SimulatedTime;
pub use world::Switches;

/// The token that is accepted.
pub const TOKEN: &str = "ucat_SIMULATED";
/// The user that is accepted.
pub const USERNAME: &str = "reeve";
/// The user's password.
pub const PASSWORD: &str = "simulated password";

/// What routes work on.
pub struct Inner {
    world: Mutex<world::World>,
    time: Arc<SimulatedTime>,
    /// Values of the Authorization header.
    accepted: [String; 2],
}

/// A simulated account with UpCloud.
pub struct UpCloudSimulator {
    /// Where to call, and how to make trouble.
    pub front: Front,
    /// Its clock.
    pub time: Arc<SimulatedTime>,
    inner: Arc<Inner>,
}

impl UpCloudSimulator {
    /// Listens on a free port of loopback, with a clock of its own.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), Arc::new(SimulatedTime::manual())).await
    }

    /// Listens somewhere.
    pub async fn start_at(address: SocketAddr, time: Arc<SimulatedTime>) -> io::Result<Self> {
        let basic = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
        let accepted = [format!("Bearer {TOKEN}"), format!("Basic {basic}")];
        let inner = Arc::new(Inner { world: Mutex::default(), time: time.clone(), accepted });
        let front = Front::open(address, routes::routes(inner.clone()), time.clone()).await?;
        Ok(Self { front, time, inner })
    }

    /// Changes what the account can do.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.inner.world().switches);
    }

    /// Gives servers these public addresses, the first free one first: those of machines that somebody else has put there,
    /// so that they can be logged in on.
    pub fn give_addresses(&self, addresses: Vec<Ipv4Addr>) {
        self.inner.world().addresses = addresses;
    }

    /// Servers that exist.
    pub fn servers(&self) -> usize {
        self.inner.world().servers.len()
    }

    /// Disks that exist, attached or not.
    pub fn disks(&self) -> usize {
        self.inner.world().storages.len()
    }

    /// What the server was told to run at its first start, by host name.
    pub fn user_data(&self, hostname: &str) -> Option<String> {
        self.inner.world().servers.values().find(|s| s.hostname == hostname).map(|s| s.user_data.clone())
    }

    /// The keys that may log in, by host name.
    pub fn ssh_keys(&self, hostname: &str) -> Option<Vec<String>> {
        self.inner.world().servers.values().find(|s| s.hostname == hostname).map(|s| s.ssh_keys.clone())
    }

    /// The server is gone, as when a person deletes it in the vendor's console; its disks too.
    pub fn vanish(&self, uuid: &str) {
        self.inner.world().remove(uuid, true);
    }

    /// The server is in the state `error` for so long.
    pub fn break_down(&self, uuid: &str, ms: i64) {
        let until = reeve_types::Clock::now(&*self.time).plus_ms(ms);
        if let Some(server) = self.inner.world().servers.get_mut(uuid) {
            server.phase = world::Phase::Error { until };
        }
    }
}
