//! Connections that stand: one for each target, shared, bounded, closed when nobody needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_ports::remote::{RemoteError, Target};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::connection::{Connection, check_pin, label, unreachable_host};

/// Bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Silence after which the host is asked whether it lives; after four such spans without a word it counts as gone.
    pub keepalive: Duration,
    /// A connection that nobody used for this long is closed.
    pub idle: Duration,
    /// Connections at once, to all hosts together. Who wants one more waits, within the time for connecting.
    pub connections: usize,
    /// Commands at once on one connection; more wait.
    pub sessions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(15), idle: Duration::from_secs(60), connections: 512, sessions: 8 }
    }
}

/// Whom a connection belongs to; the key only as its hash.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Whose {
    address: String,
    port: u16,
    user: String,
    key: [u8; 32],
}

/// Held while one is being opened, so that two who want the same wait for one.
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

/// The way to hosts over SSH. Cheap to clone.
#[derive(Clone)]
pub struct Ssh {
    settings: Settings,
    slots: Arc<Mutex<HashMap<Whose, Arc<Slot>>>>,
    places: Arc<Semaphore>,
}

impl Ssh {
    /// No connection yet.
    pub fn new(settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(settings.connections));
        Self { settings, slots: Arc::default(), places }
    }

    /// A connection that stands or is opened for this.
    pub(crate) async fn connection(&self, target: &Target) -> Result<Arc<Connection>, RemoteError> {
        let whose = Whose {
            address: target.address.clone(),
            port: target.port,
            user: target.user.clone(),
            key: Sha256::digest(target.key.expose()).into(),
        };
        let slot = Arc::clone(self.slots().entry(whose.clone()).or_default());
        let waiting = tokio::time::timeout(target.connect_timeout, self.place(&slot)).await;
        let Ok((mut current, place)) = waiting else {
            let seconds = target.connect_timeout.as_secs_f32();
            return Err(unreachable_host(format!("no free connection for {} within {seconds} s", label(target))));
        };
        let Some(place) = place else {
            if let Some(connection) = current.as_ref() {
                if let Some(pinned) = &target.pinned {
                    check_pin(connection.label(), pinned, connection.host_key())?;
                }
                connection.touch();
                return Ok(Arc::clone(connection));
            }
            return Err(unreachable_host("the server is shutting down"));
        };
        *current = None;
        let opened = Connection::open(target, &self.settings, place).await;
        let connection = match opened {
            Ok(connection) => Arc::new(connection),
            Err(error) => {
                drop(current);
                self.forget(&whose, &slot);
                return Err(error);
            }
        };
        *current = Some(Arc::clone(&connection));
        tokio::spawn(self.clone().watch(whose, Arc::clone(&slot), Arc::downgrade(&connection)));
        Ok(connection)
    }

    /// The slot for oneself, with the connection in it, or with the right to open one.
    async fn place<'a>(
        &self,
        slot: &'a Slot,
    ) -> (tokio::sync::MutexGuard<'a, Option<Arc<Connection>>>, Option<OwnedSemaphorePermit>) {
        let current = slot.lock().await;
        if let Some(connection) = current.as_ref()
            && connection.is_alive().await
        {
            return (current, None);
        }
        if self.places.available_permits() == 0 {
            self.close_unused().await;
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        (current, place.ok())
    }

    /// Closes a connection when it has been idle, and forgets one that broke.
    async fn watch(self, whose: Whose, slot: Arc<Slot>, connection: std::sync::Weak<Connection>) {
        loop {
            // The connection is not held while waiting: holding it is using it.
            let due = connection.upgrade().map(|alive| alive.last_used() + self.settings.idle);
            let Some(due) = due else { break };
            tokio::time::sleep_until(due.max(tokio::time::Instant::now() + self.settings.idle / 4)).await;
            let mut current = slot.lock().await;
            let Some(alive) = connection.upgrade() else { break };
            let ours = current.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &alive));
            let idle = alive.last_used().elapsed() >= self.settings.idle && unused(&alive, 2);
            if alive.is_open() && !idle {
                continue;
            }
            if ours {
                *current = None;
            }
            drop(current);
            if alive.is_open() {
                debug!(host = alive.label(), "closing an idle connection");
                alive.close("idle").await;
            }
            break;
        }
        self.forget(&whose, &slot);
    }

    /// Drops a slot that is empty and that nobody but the map and the caller holds.
    fn forget(&self, whose: &Whose, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        let spare = slots.get(whose).is_some_and(|kept| Arc::ptr_eq(kept, slot) && Arc::strong_count(kept) == 2);
        if spare && slot.try_lock().is_ok_and(|current| current.is_none()) {
            slots.remove(whose);
        }
    }

    /// Makes room: closes every connection that nobody uses at this moment.
    async fn close_unused(&self) {
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        for slot in slots {
            let unused = slot.try_lock().ok().and_then(|mut current| current.take_if(|kept| unused(kept, 1)));
            if let Some(connection) = unused {
                connection.close("making room").await;
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Whose, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether only `holders` hold it: the pool, and whoever asks.
fn unused(connection: &Arc<Connection>, holders: usize) -> bool {
    Arc::strong_count(connection) <= holders
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ssh({} targets)", self.slots().len())
    }
}
