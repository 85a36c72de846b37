//! Server certificates: from PEM files, or made at the first start and kept in the data directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// TLS of a listener.
#[derive(Clone)]
pub struct Identity {
    /// What the listener's handshakes use.
    pub config: Arc<ServerConfig>,
    /// The certificate shown first, in DER.
    pub certificate: CertificateDer<'static>,
}

impl Identity {
    /// A certificate chain and key in PEM files.
    ///
    /// # Errors
    /// When a file cannot be read or the key does not fit the certificate.
    pub fn from_pem(chain: &Path, key: &Path) -> io::Result<Self> {
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| io::Error::other(format!("{}: {e}", chain.display())))?;
        let key_der =
            PrivateKeyDer::from_pem_file(key).map_err(|e| io::Error::other(format!("{}: {e}", key.display())))?;
        let Some(certificate) = certificates.first().cloned() else {
            return Err(io::Error::other(format!("{} holds no certificate", chain.display())));
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key_der))
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// `cert.pem` and `key.pem` in `directory`, made for `names` (host names and addresses) when they are not there yet.
    ///
    /// # Errors
    /// When the files cannot be made or read.
    pub fn self_signed(directory: &Path, names: &[String]) -> io::Result<Self> {
        let (chain, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        if !chain.exists() || !key.exists() {
            std::fs::create_dir_all(directory)?;
            let key_pair = KeyPair::generate().map_err(io::Error::other)?;
            let mut params = CertificateParams::new(names.to_vec()).map_err(io::Error::other)?;
            params.distinguished_name.push(DnType::CommonName, "Reeve, self-signed");
            let certificate = params.self_signed(&key_pair).map_err(io::Error::other)?;
            // The key first: a certificate without its key would look complete to the next start.
            write_private(&key, key_pair.serialize_pem().as_bytes())?;
            write_private(&chain, certificate.pem().as_bytes())?;
        }
        Self::from_pem(&chain, &key)
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
