//! Listeners: accept, TLS, HTTP/1 and HTTP/2, bounded connections, graceful drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::patient::Patient;
use crate::pipeline::Peer;
use crate::tls::Identity;

/// How a listener behaves.
#[derive(Clone)]
pub struct ListenerOptions {
    /// TLS, or plain HTTP.
    pub tls: Option<Identity>,
    /// Connections at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take for the TLS handshake and for a request's headers.
    pub header_timeout: Duration,
    /// A client that takes nothing of an answer for this long has gone.
    pub stall_timeout: Duration,
    /// How long open requests may go on once the server drains.
    pub drain_timeout: Duration,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            tls: None,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// A bound socket that does not answer yet.
pub struct Listener {
    name: String,
    socket: TcpListener,
    address: SocketAddr,
    options: ListenerOptions,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound; the message names listener and address.
    pub async fn bind(name: &str, address: SocketAddr, options: ListenerOptions) -> io::Result<Self> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("listener {name} on {address}: {e}")))?;
        let address = socket.local_addr()?;
        Ok(Self { name: name.to_owned(), socket, address, options })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients on this machine: wildcard addresses become loopback.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("{scheme}://{address}")
    }

    /// Answers with `router` until `draining` fires; then no new connections, open requests get the drain timeout.
    pub async fn serve(self, router: Router, draining: CancellationToken) {
        let Self { name, socket, options, .. } = self;
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(options.max_connections));
        let acceptor = options.tls.as_ref().map(|identity| TlsAcceptor::from(identity.config.clone()));
        let overdue = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = draining.cancelled() => break,
                accepted = accept(&socket, &slots) => accepted,
            };
            let (stream, peer, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors: accepting again at once would spin.
                    tracing::warn!(listener = name, %error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let connection = Connection {
                router: router.clone(),
                peer,
                draining: draining.clone(),
                header_timeout: options.header_timeout,
                stall_timeout: options.stall_timeout,
            };
            let (acceptor, overdue) = (acceptor.clone(), overdue.clone());
            connections.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = connection.open(stream, acceptor) => {}
                    () = overdue.cancelled() => {}
                }
            });
        }
        drop(socket);
        connections.close();
        if timeout(options.drain_timeout, connections.wait()).await.is_err() {
            tracing::warn!(listener = name, open = connections.len(), "connections were cut after the drain timeout");
            overdue.cancel();
            connections.wait().await;
        }
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    Ok((stream, peer, slot))
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    draining: CancellationToken,
    header_timeout: Duration,
    stall_timeout: Duration,
}

impl Connection {
    async fn open(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        match acceptor {
            None => self.serve(stream).await,
            Some(acceptor) => match timeout(self.header_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.serve(stream).await,
                Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
            },
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { router, peer, draining, header_timeout, stall_timeout } = self;
        let stream = Patient::new(stream, header_timeout, stall_timeout);
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .max_concurrent_streams(200);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}
