//! Accepts agents: bounded handshakes, and a farewell that sends everybody back at different times.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use reeve_agent_proto::proof::{EXPORTER_LABEL, EXPORTER_LEN};
use reeve_domain::App;
use reeve_ports::AgentLink;
use reeve_types::NodeId;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::hub::Hub;

/// Locks that keep a node's connect and disconnect apart.
const STRIPES: usize = 256;

/// What the gateway allows itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are being set up at once; others wait in the kernel's queue.
    pub handshakes: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
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
            large_messages: 64,
            farewell: Duration::from_secs(3),
        }
    }
}

/// The shell around the agents' connections.
pub struct Gateway {
    pub(crate) app: Arc<App>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) large_messages: Arc<Semaphore>,
    /// Fired at shutdown.
    pub(crate) stop: CancellationToken,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Gateway {
    /// A gateway that fills `hub`. Call [`App::set_agents`] with the hub before.
    pub fn new(app: Arc<App>, hub: Arc<Hub>, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            app,
            hub,
            limits,
            large_messages: Arc::new(Semaphore::new(limits.large_messages)),
            stop,
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        })
    }

    /// Serves agents until the gateway is stopped; then says goodbye to all of them.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        let handshakes = Arc::new(Semaphore::new(self.limits.handshakes));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &handshakes) => accepted,
                () = self.stop.cancelled() => break,
            };
            let Some((tcp, permit)) = accepted else { continue };
            let (gateway, acceptor) = (self.clone(), acceptor.clone());
            connections.spawn(gateway.connection(tcp, acceptor, permit));
        }
        drop(listener);
        connections.close();
        if timeout(self.limits.farewell, connections.wait()).await.is_err() {
            tracing::warn!(agents = connections.len(), "agents were cut off without a farewell");
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, acceptor: TlsAcceptor, permit: OwnedSemaphorePermit) {
        let peer = tcp.peer_addr().ok();
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        // Boxed, so that the long life of the connection does not carry the handshake's state.
        let handshake = Box::pin(timeout(self.limits.handshake_timeout, acceptor.accept(tcp)));
        let stream = match handshake.await {
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

async fn accept(listener: &TcpListener, handshakes: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = handshakes.clone().acquire_owned().await.ok()?;
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
