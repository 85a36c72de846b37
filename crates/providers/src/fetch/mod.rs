//! The port `Fetch` over HTTP/1.1 and HTTP/2, with TLS, keeping connections.
//!
//! A name is resolved by [`Lookup`], its addresses pass the [`Guard`], and the connection is made to those very addresses;
//! a literal address passes the guard before anything else. Nothing is followed, nothing is read from the environment.

mod address;
mod guard;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use futures::future::BoxFuture;
use reeve_ports::fetch::{Answer, Failure, Request};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, timeout_at};

pub use address::{Reach, reach};
pub use guard::{Guard, Refusal};

/// Longest time for a connection with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// A kept connection is closed after this long, and its name resolved again.
const IDLE: Duration = Duration::from_secs(30);
/// Kept connections to one host.
const KEPT: usize = 16;

/// Resolves names. A trait, so that tests can rebind a name between two questions.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `name`.
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The resolver of the machine.
#[derive(Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|at| at.ip()).collect()) })
    }
}

/// Sends requests to servers of others.
pub struct Fetcher {
    guard: Guard,
    lookup: Arc<dyn Lookup>,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Fetcher {
    /// With the machine's resolver.
    pub fn new(guard: Guard) -> Self {
        Self::with_lookup(guard, Arc::new(SystemLookup))
    }

    /// With another resolver.
    pub fn with_lookup(guard: Guard, lookup: Arc<dyn Lookup>) -> Self {
        Self { guard, lookup, client: OnceLock::new() }
    }

    /// Made with the first request: reading the machine's certificates takes time and memory that a server without
    /// receivers shall not spend.
    fn client(&self) -> Result<&reqwest::Client, Failure> {
        let made = self.client.get_or_init(|| client(self.guard, self.lookup.clone()));
        made.as_ref().map_err(|why| Failure::Unreachable(why.clone()))
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Failure> {
        let ends = Instant::now() + request.timeout;
        let url = self.guard.url(&request.url).map_err(|refusal| Failure::Refused(refusal.0))?;
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Failure::Refused(format!("{} is not a method", request.method)))?;
        let mut builder = self.client()?.request(method, url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let sent = timeout_at(ends, builder.body(request.body).send()).await.map_err(|_| Failure::TimedOut)?;
        let mut response = sent.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut body = BytesMut::new();
        let truncated = loop {
            match timeout_at(ends, response.chunk()).await {
                Ok(Ok(None)) => break false,
                Ok(Ok(Some(chunk))) => {
                    let room = request.most_bytes - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        break true;
                    }
                }
                // The status has come, and that is the answer.
                Ok(Err(_)) | Err(_) => break true,
            }
        };
        Ok(Answer { status, retry_after, body: body.freeze(), truncated })
    }
}

impl reeve_ports::Fetch for Fetcher {
    fn check<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url = self.guard.url(url).map_err(|refusal| refusal.0)?;
            let Some(url::Host::Domain(name)) = url.host() else { return Ok(()) };
            let looked = tokio::time::timeout(CONNECT, self.lookup.lookup(name.to_owned())).await;
            match looked {
                Ok(Ok(ips)) => self.guard.addresses(ips).map_err(|refusal| refusal.0),
                // It is looked up again with every request.
                Ok(Err(_)) | Err(_) => Ok(()),
            }
        })
    }

    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(self.exchange(request))
    }
}

/// The resolver that the HTTP client is given: it never hands out an address that was not checked.
struct Guarded {
    guard: Guard,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, looking) = (self.guard, self.lookup.lookup(name.as_str().to_owned()));
        Box::pin(async move {
            let ips = looking.await?;
            guard.addresses(ips.iter().copied())?;
            let addresses: Addrs = Box::new(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

fn client(guard: Guard, lookup: Arc<dyn Lookup>) -> Result<reqwest::Client, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "no certificate authorities found on this machine: https receivers cannot be reached; install ca-certificates"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .user_agent(concat!("reeve/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Guarded { guard, lookup }))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(KEPT)
        .build()
        .map_err(|e| format!("the HTTP client cannot be made: {e}"))
}

/// What happened, in words without the URL: it may hold a secret.
fn failure(error: &reqwest::Error) -> Failure {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut deepest = String::new();
    while let Some(at) = source {
        if let Some(refusal) = at.downcast_ref::<Refusal>() {
            return Failure::Refused(refusal.0.clone());
        }
        deepest = at.to_string();
        source = at.source();
    }
    if error.is_timeout() {
        return Failure::TimedOut;
    }
    let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    Failure::Unreachable(if error.is_builder() {
        "a header cannot be sent".to_owned()
    } else {
        format!("{what}: {deepest}")
    })
}
