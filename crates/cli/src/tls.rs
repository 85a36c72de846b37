//! The HTTP client's TLS: the platform's trust by default, the certificates of a PEM file instead, or none at all.

use std::sync::{Arc, Once};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::failure::{Failure, Outcome};

/// Builds the client for a base URL. `ca_pem` replaces the platform's trust; `insecure` trusts everybody.
pub fn client(url: &reqwest::Url, ca_pem: Option<&str>, insecure: bool) -> Outcome<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    // An error only says that somebody installed a provider before; there is only one in the tree.
    PROVIDER.call_once(|| drop(ring::default_provider().install_default()));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("reeve-cli/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        // Streams send a comment more often than this when they have nothing else to say.
        .read_timeout(Duration::from_secs(90))
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(pem) = ca_pem {
        builder = builder.tls_backend_preconfigured(trusting(pem)?);
    }
    builder.build().map_err(|error| Failure::local(format!("cannot make an HTTP client: {error}")))
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn trusting(pem: &str) -> Outcome<ClientConfig> {
    let bad = |why: String| {
        Failure::local_with(format!("the CA file is of no use: {why}"), "give a PEM file with at least one certificate")
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let by_chain = if roots.is_empty() {
        None
    } else {
        Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| bad(error.to_string()))?,
        )
    };
    let verifier = Pinned { certificates, by_chain, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts a server whose very certificate is in the file, whatever names it carries, and else goes by the chain: a
/// self-signed certificate is no authority, so the chain alone would refuse it.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    by_chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|certificate| certificate == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.by_chain {
            Some(chain) => chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
