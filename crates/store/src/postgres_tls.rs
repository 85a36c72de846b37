//! TLS to PostgreSQL as `sslmode` and `sslrootcert` of the URL ask for it, in libpq's meaning of the words.

use std::str::FromStr;
use std::sync::Arc;

use reeve_types::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    /// Signed by an authority that is trusted.
    Chain,
    /// And made for the host that was asked for.
    Full,
}

/// Reads a URL: where to connect, and how TLS is made.
///
/// # Errors
/// Invalid, naming what of the URL is wrong.
pub(crate) fn read(url: &str) -> Result<(Config, MakeRustlsConnect)> {
    let (rest, mode, root) = split(url)?;
    let mut config = Config::from_str(&rest)
        .map_err(|e| Error::invalid("store", format!("is not a PostgreSQL URL: {e}")).with_source(e))?;
    let (ssl, check) = match (mode.as_deref().unwrap_or("prefer"), &root) {
        ("disable", _) => (SslMode::Disable, Check::Nothing),
        ("allow" | "prefer", _) => (SslMode::Prefer, Check::Nothing),
        ("require", None) => (SslMode::Require, Check::Nothing),
        ("require", Some(_)) | ("verify-ca", _) => (SslMode::Require, Check::Chain),
        ("verify-full", _) => (SslMode::Require, Check::Full),
        (other, _) => {
            let there_are = "there are disable, prefer, require, verify-ca and verify-full";
            return Err(Error::invalid("store", format!("has sslmode={other}; {there_are}")));
        }
    };
    config.ssl_mode(ssl);
    let trusted = match (check, root.as_deref()) {
        (Check::Nothing, _) => Vec::new(),
        (Check::Chain | Check::Full, None | Some("system")) => system()?,
        (Check::Chain | Check::Full, Some(file)) => from_file(file)?,
    };
    Ok((config, MakeRustlsConnect::new(client(check, trusted)?)))
}

/// The URL without what only we understand: `sslmode`, `sslrootcert`.
fn split(url: &str) -> Result<(String, Option<String>, Option<String>)> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), None, None)) };
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root = Some(decoded(value)?),
            _ => rest.push(pair),
        }
    }
    let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((rest, mode, root))
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let byte = byte
            .ok_or_else(|| Error::invalid("store", "has a % in sslrootcert that is not followed by two hex digits"))?;
        bytes.push(byte);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("store", "has an sslrootcert that is not UTF-8"))
}

fn from_file(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |why: String| Error::invalid("store", format!("has sslrootcert={file}, which is of no use: {why}"));
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

fn system() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        let what = format!(
            "wants the authorities that this machine trusts, and there are none{why}; name a file with sslrootcert="
        );
        return Err(Error::invalid("store", what));
    }
    Ok(found.certs)
}

fn client(check: Check, trusted: Vec<CertificateDer<'static>>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let chain = if roots.is_empty() {
        None
    } else {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Some(verifier.map_err(Error::internal)?)
    };
    let verifier = Verifier { check, trusted, chain, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    trusted: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        // The very certificate may be the one that is trusted; it need not be an authority then.
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            if self.check == Check::Full {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let Some(chain) = &self.chain else {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        // The name is looked at after the chain, so an error of the name says that the chain holds.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Chain => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
