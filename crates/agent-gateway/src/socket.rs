//! TLS for agents, and moving bytes without keeping buffers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use reeve_agent_proto::key::pin_of_spki;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// TLS 1.3 with this certificate. Agents recognise the server by [`pin_of`] its key, not by names or authorities.
///
/// # Errors
/// When key and certificate do not belong together.
pub fn tls_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // Connections last for days: resumption would cost memory and tickets for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The pin that enrollment keys carry for the server with this certificate.
///
/// # Errors
/// When the certificate cannot be read.
pub fn pin_of(certificate: &CertificateDer<'_>) -> Result<String, rustls::Error> {
    Ok(pin_of_spki(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// What [`transfer`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Bytes moved in at least one direction.
    Moved,
    /// The peer closed.
    Closed,
}

/// Writes from `output` and, if `may_read`, reads whatever is there. The read buffer lives on the stack. Cancel safe.
pub(crate) async fn transfer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut Bytes,
    may_read: bool,
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
        if may_read {
            let mut space = [std::mem::MaybeUninit::<u8>::uninit(); 16 * 1024];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(Transfer::Closed)),
                Poll::Ready(Ok(())) => {
                    received(buffer.filled());
                    return Poll::Ready(Ok(Transfer::Moved));
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(Transfer::Closed));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if moved && output.is_empty() { Poll::Ready(Ok(Transfer::Moved)) } else { Poll::Pending }
    })
    .await
}
