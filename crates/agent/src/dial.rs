//! From an endpoint to an authenticated TLS connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reeve_agent_proto::proof::{EXPORTER_LABEL, EXPORTER_LEN};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proxy::Proxy;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a server that holds the pinned key.
pub struct Connection {
    /// The socket.
    pub stream: TlsStream<TcpStream>,
    /// The channel binding that proofs are made over.
    pub exporter: [u8; EXPORTER_LEN],
}

/// Connects to `endpoint` (`host:port`), through `proxy` when given.
pub async fn dial(endpoint: &str, proxy: Option<&Proxy>, config: &Arc<ClientConfig>) -> io::Result<Connection> {
    let address = proxy.map_or(endpoint, |p| p.address.as_str());
    let mut tcp = within(CONNECT_TIMEOUT, "connecting", TcpStream::connect(address)).await?;
    tcp.set_nodelay(true)?;
    if let Some(proxy) = proxy {
        within(CONNECT_TIMEOUT, "waiting for the proxy", proxy.tunnel(&mut tcp, endpoint)).await?;
    }
    let connect = TlsConnector::from(config.clone()).connect(server_name(endpoint)?, tcp);
    let stream = within(HANDSHAKE_TIMEOUT, "in the TLS handshake", connect).await?;
    let exporter = stream
        .get_ref()
        .1
        .export_keying_material([0u8; EXPORTER_LEN], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    Ok(Connection { stream, exporter })
}

/// What [`transfer`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Bytes moved in at least one direction.
    Moved,
    /// The peer closed.
    Closed,
}

/// Writes from `output` and reads whatever is there, both at once, so that two peers that write to each other never
/// wait for each other. The read buffer lives on the stack: an idle connection holds none. Cancel safe.
pub async fn transfer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut Bytes,
    mut received: impl FnMut(&[u8]),
) -> io::Result<Transfer> {
    std::future::poll_fn(|cx| {
        let mut moved = false;
        while !output.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    output.advance(n);
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        let mut space = [std::mem::MaybeUninit::<u8>::uninit(); 16 * 1024];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Ok(Transfer::Closed)),
            Poll::Ready(Ok(())) => {
                received(buffer.filled());
                Poll::Ready(Ok(Transfer::Moved))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(Transfer::Closed))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if moved && output.is_empty() => Poll::Ready(Ok(Transfer::Moved)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("timed out {what}"))),
    }
}

fn server_name(endpoint: &str) -> io::Result<ServerName<'static>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("{endpoint:?} is not HOST:PORT"));
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| bad())
}
