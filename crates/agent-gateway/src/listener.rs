//! Accepts agents: bounded handshakes, and a farewell that sends everybody back at different times.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reeve_agent_proto::proof::{EXPORTER_LABEL, EXPORTER_LEN};
use reeve_domain::App;
use reeve_ports::AgentLink;
use reeve_types::NodeId;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::hub::Hub;
use crate::socket::TlsIdentity;

/// Locks that keep a node's connect and disconnect apart.
const STRIPES: usize = 256;

/// What the gateway allows itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are being set up at once; others wait in the kernel's queue.
    pub handshakes: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a newcomer waits for a place before those who take their time are sent away.
    pub crowded_after: Duration,
    /// How long an agent may take to say something then.
    pub crowded_timeout: Duration,
    /// Large messages that are being received at once.
    pub large_messages: usize,
    /// How long the farewell may take at shutdown.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            crowded_after: Duration::from_secs(1),
            crowded_timeout: Duration::from_secs(2),
            large_messages: 64,
            farewell: Duration::from_secs(3),
        }
    }
}

/// The agents' listener, bound and not yet served.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    identity: TlsIdentity,
    limits: Limits,
}

impl Gateway {
    /// Binds the listener. Agents that connect wait until [`Gateway::serve`].
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(address: impl ToSocketAddrs, identity: TlsIdentity) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, identity, limits: Limits::default() })
    }

    /// Changes the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `sha256:<hex>` of the listener's public key, for enrollment keys.
    pub fn pin(&self) -> String {
        self.identity.pin.clone()
    }

    /// Serves agents until `stop` fires; then sends all of them away, spread over the time they come back in. Call
    /// [`App::set_agents`] with the hub before.
    pub async fn serve(self, app: Arc<App>, hub: Arc<Hub>, stop: CancellationToken) {
        let limits = self.limits;
        let handshakes = Arc::new(Semaphore::new(limits.handshakes));
        let acceptor = TlsAcceptor::from(self.identity.config);
        let shell = Arc::new(Shell {
            app,
            hub,
            limits,
            large_messages: Arc::new(Semaphore::new(limits.large_messages)),
            stop,
            crowded: watch::Sender::new(()),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        });
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &handshakes, &shell) => accepted,
                () = shell.stop.cancelled() => break,
            };
            let Some((tcp, permit)) = accepted else { continue };
            connections.spawn(shell.clone().connection(tcp, acceptor.clone(), permit));
        }
        drop(self.listener);
        connections.close();
        if timeout(limits.farewell, connections.wait()).await.is_err() {
            tracing::warn!(agents = connections.len(), "agents were cut off without a farewell");
        }
    }
}

/// What all connections share.
pub(crate) struct Shell {
    pub(crate) app: Arc<App>,
    pub(crate) hub: Arc<Hub>,
    limits: Limits,
    pub(crate) large_messages: Arc<Semaphore>,
    /// Fired at shutdown.
    pub(crate) stop: CancellationToken,
    /// Told now and then while nobody can come in.
    crowded: watch::Sender<()>,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Shell {
    async fn connection(self: Arc<Self>, tcp: TcpStream, acceptor: TlsAcceptor, permit: OwnedSemaphorePermit) {
        let peer = tcp.peer_addr().ok();
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        // Boxed, so that the long life of the connection does not carry the handshake's state.
        let handshake = Box::pin(timeout(self.limits.handshake_timeout, acceptor.accept(tcp)));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = self.crowded(Instant::now()) => {
                tracing::debug!(?peer, "TLS handshake with an agent took too long while others waited");
                return;
            }
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(?peer, %error, "TLS handshake with an agent failed");
                return;
            }
            Err(_) => {
                tracing::debug!(?peer, "TLS handshake with an agent took too long");
                return;
            }
        };
        let exporter = [0u8; EXPORTER_LEN];
        match stream.get_ref().1.export_keying_material(exporter, EXPORTER_LABEL, None) {
            Ok(exporter) => connection::serve(&self, stream, exporter, permit).await,
            Err(error) => tracing::error!(%error, "no channel binding"),
        }
    }

    /// Returns when others wait for the place of somebody who has said nothing since `since`. Who holds all places by saying
    /// nothing, as anybody can who reaches this port, would keep the agents out otherwise.
    pub(crate) async fn crowded(&self, since: Instant) {
        let mut crowded = self.crowded.subscribe();
        // The sender lives as long as the shell.
        while crowded.changed().await.is_ok() {
            if since.elapsed() >= self.limits.crowded_timeout {
                return;
            }
        }
    }

    /// The lock under which a node's connection is put into or taken out of hub and store.
    pub(crate) fn stripe(&self, node: &NodeId) -> &Mutex<()> {
        let index = self.hasher.hash_one(node) % STRIPES as u64;
        &self.stripes[usize::try_from(index).unwrap_or_default()]
    }

    /// When an agent that is sent away should come back: about 500 agents a second, at least within half a second.
    pub(crate) fn reconnect_after_ms(&self, node: &NodeId) -> u64 {
        let spread_ms = (self.hub.connected_count() as u64 * 2).clamp(500, 60_000);
        self.hasher.hash_one(node) % spread_ms
    }
}

async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
    shell: &Shell,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = loop {
        match timeout(shell.limits.crowded_after, handshakes.clone().acquire_owned()).await {
            Ok(permit) => break permit.ok()?,
            Err(_) => shell.crowded.send_replace(()),
        }
    };
    match listener.accept().await {
        Ok((tcp, _)) => Some((tcp, permit)),
        Err(error) => {
            tracing::error!(%error, "cannot accept agents");
            // Out of file descriptors, as a rule: without a pause this would spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
