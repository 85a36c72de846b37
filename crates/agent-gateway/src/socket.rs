//! TLS for agents, and moving bytes without keeping buffers.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use reeve_agent_proto::key::pin_of_spki;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The listener's certificate and key. Agents recognise the server by the pin of its key, not by names or authorities.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) pin: String,
}

impl TlsIdentity {
    /// From PEM files.
    ///
    /// # Errors
    /// When a file cannot be read, or key and certificate do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> io::Result<Self> {
        let bad = |path: &Path| {
            let path = path.display().to_string();
            move |error: pem::Error| io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {error}"))
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(bad(certificate))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(bad(key))?;
        Self::from_der(chain, key)
    }

    /// From DER, the end entity's certificate first.
    ///
    /// # Errors
    /// When key and certificate do not belong together.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> io::Result<Self> {
        let invalid = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let first = chain.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no certificate"))?;
        let spki = ParsedCertificate::try_from(first).map_err(invalid)?.subject_public_key_info();
        let pin = pin_of_spki(&spki);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(invalid)?;
        // Connections last for days: resumption would cost memory and tickets for nothing.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), pin })
    }
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
