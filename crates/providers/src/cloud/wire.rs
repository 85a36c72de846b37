//! Sends one request to a vendor and returns its bounded answer, or tells whether it can have had an effect.
//!
//! Must not know any vendor's words. Never logs or repeats what was sent.

use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Endpoint;

/// A pause that a vendor asks for is believed up to this.
const LONGEST_PAUSE_MS: u64 = 3_600_000;
/// When a vendor says "too many" and not for how long.
const USUAL_PAUSE_MS: u64 = 2_000;

/// A connection pool to one API with its limits.
pub struct Wire {
    vendor: &'static str,
    base: Url,
    http: Client,
    slots: Semaphore,
    /// No call before this instant (microseconds): the vendor asked for a pause.
    paused_until: AtomicI64,
    pub endpoint: Endpoint,
}

/// A request.
pub struct Call {
    pub method: Method,
    /// Appended to the base URL; with its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Option<(&'static str, Vec<u8>)>,
    /// Whether it can have an effect: decides between Ambiguous and Unavailable when no answer comes.
    pub changes: bool,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: None, changes: false }
    }
    pub fn change(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: None, changes: true }
    }
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(("application/json", body.to_string().into_bytes()));
        self
    }
}

/// An answer of any status.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    vendor: &'static str,
    changes: bool,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The body as JSON of a known shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CloudError> {
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(&error.to_string()))
    }
    /// For an answer that is not what it should be. What was asked may have been done all the same.
    pub fn malformed(&self, why: &str) -> CloudError {
        let kind = if self.changes { CloudErrorKind::Ambiguous } else { CloudErrorKind::Unavailable };
        let text = format!("{} answered {} with something unreadable: {why}", self.vendor, self.status);
        CloudError::new(kind, text).with_code("MALFORMED_ANSWER")
    }
    /// What a status says when the body does not say more.
    pub fn kind_by_status(&self) -> CloudErrorKind {
        match self.status {
            400 | 406 | 415 | 422 => CloudErrorKind::Invalid { field: "" },
            401 | 403 => CloudErrorKind::Auth,
            402 => CloudErrorKind::Quota,
            404 => CloudErrorKind::NotFound,
            409 | 423 => CloudErrorKind::Busy,
            429 => CloudErrorKind::RateLimited,
            _ if self.changes => CloudErrorKind::Ambiguous,
            _ => CloudErrorKind::Unavailable,
        }
    }
}

impl Wire {
    /// Invalid (`base_url`) for an address that is none or would carry credentials in the clear.
    pub fn new(vendor: &'static str, endpoint: Endpoint) -> Result<Self, CloudError> {
        static PROVIDER: Once = Once::new();
        // An error only says that somebody installed a provider before; there is only one in the tree.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let bad = |why: &str| CloudError::invalid("base_url", format!("the address of {vendor} {why}"));
        let base: Url = endpoint.base_url.trim_end_matches('/').parse().map_err(|_| bad("is no URL"))?;
        let loopback = is_loopback(&base);
        if base.scheme() != "https" && !(base.scheme() == "http" && loopback) {
            return Err(bad("must begin with https://; plain HTTP is for loopback only"));
        }
        if !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(bad("holds more than scheme, host, port and path; credentials are a setting of their own"));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("reeve/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(endpoint.timeout.min(Duration::from_secs(10)))
            .redirect(reqwest::redirect::Policy::none());
        if loopback {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| bad(&format!("cannot be used: {error}")))?;
        let slots = Semaphore::new(endpoint.parallel_calls.max(1));
        Ok(Self { vendor, base, http, slots, paused_until: AtomicI64::new(0), endpoint })
    }

    /// The base URL's host with its port where that is not the scheme's.
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub fn now(&self) -> Timestamp {
        self.endpoint.clock.now()
    }

    /// Sends a call and reads the whole answer. RateLimited, without sending anything, while the vendor wants a pause.
    pub async fn send(&self, call: Call) -> Result<Reply, CloudError> {
        let deadline = Instant::now() + self.endpoint.timeout;
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        let no_slot = || {
            let text = format!("too many calls to {} are under way", self.vendor);
            CloudError::new(CloudErrorKind::Unavailable, text).with_code("NO_SLOT")
        };
        let Ok(Ok(_slot)) = slot else { return Err(no_slot()) };
        if Instant::now() >= deadline {
            // A slot at the last moment: do not begin what cannot be waited for.
            return Err(no_slot());
        }
        let pause_ms = Timestamp(self.paused_until.load(Ordering::Relaxed)).ms_since(self.now());
        if pause_ms > 0 {
            return Err(self.rate_limited(pause_ms.unsigned_abs()));
        }
        let changes = call.changes;
        match tokio::time::timeout_at(deadline, self.exchange(call)).await {
            Ok(reply) => reply,
            Err(_) => {
                let text = format!("{} did not answer within {:?}", self.vendor, self.endpoint.timeout);
                Err(CloudError::new(lost(changes), text).with_code("TIMEOUT"))
            }
        }
    }

    async fn exchange(&self, call: Call) -> Result<Reply, CloudError> {
        let Call { method, path, mut headers, body, changes } = call;
        let url: Url = format!("{}{path}", self.base.as_str().trim_end_matches('/'))
            .parse()
            .map_err(|_| CloudError::invalid("", "an id or a name that no URL can hold"))?;
        if let Some((kind, _)) = &body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let mut request = self.http.request(method, url).headers(headers);
        if let Some((_, bytes)) = body {
            request = request.body(bytes);
        }
        let mut response = request.send().await.map_err(|error| self.unanswered(&error, changes))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unanswered(&error, changes))? {
            if body.len() + chunk.len() > self.endpoint.answer_bytes {
                let text = format!("{} answered more than {} bytes", self.vendor, self.endpoint.answer_bytes);
                return Err(CloudError::new(lost(changes), text).with_code("ANSWER_TOO_LARGE"));
            }
            body.extend_from_slice(&chunk);
        }
        self.keep_pace(status, &headers);
        Ok(Reply { status, body, vendor: self.vendor, changes })
    }

    /// Errors of reqwest name the URL and the cause, never headers or bodies; ours leaves out the URL as well.
    fn unanswered(&self, error: &reqwest::Error, changes: bool) -> CloudError {
        if error.is_connect() {
            let text = format!("no connection to {} at {}", self.vendor, self.host());
            return CloudError::new(CloudErrorKind::Unavailable, text).with_code("NO_CONNECTION");
        }
        let text = format!("the connection to {} broke before its answer was complete", self.vendor);
        CloudError::new(lost(changes), text).with_code("NO_ANSWER")
    }

    /// Takes a pause when the answer asks for one, or when it says that no further call is left.
    fn keep_pace(&self, status: u16, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if status == 429 {
            self.pause(self.asked_pause_ms(headers));
        } else if number("ratelimit-remaining") == Some(0) {
            // The allowance is refilled steadily: wait for one call's worth of it.
            self.pause(3_600_000 / number("ratelimit-limit").unwrap_or(3600).max(1));
        }
    }

    fn asked_pause_ms(&self, headers: &HeaderMap) -> u64 {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let until = |epoch: u64| epoch.saturating_sub(self.now().as_secs().unsigned_abs());
        let seconds = number(RETRY_AFTER.as_str()).or_else(|| number("ratelimit-reset").map(until));
        seconds.map_or(USUAL_PAUSE_MS, |s| s.saturating_mul(1000)).clamp(1, LONGEST_PAUSE_MS)
    }

    /// No call for so long.
    pub fn pause(&self, ms: u64) {
        let until = self.now().plus_ms(i64::try_from(ms.min(LONGEST_PAUSE_MS)).unwrap_or(i64::MAX));
        self.paused_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// The error for a call that the vendor turned down, or would: with the pause that is left.
    pub fn too_many(&self) -> CloudError {
        let left = Timestamp(self.paused_until.load(Ordering::Relaxed)).ms_since(self.now());
        self.rate_limited(u64::try_from(left).unwrap_or(0).max(1))
    }

    fn rate_limited(&self, pause_ms: u64) -> CloudError {
        let text = format!("{} takes no further call for {} s", self.vendor, pause_ms.div_ceil(1000));
        CloudError::new(CloudErrorKind::RateLimited, text).with_retry_after_ms(pause_ms)
    }
}

fn lost(changes: bool) -> CloudErrorKind {
    if changes { CloudErrorKind::Ambiguous } else { CloudErrorKind::Unavailable }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Percent-encodes what is not unreserved (RFC 3986): for path segments, query values and signatures alike.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An id as part of a path. NotFound for what no vendor's id looks like, so that `..` or `x?y` leads nowhere else.
pub fn segment(id: &reeve_ports::cloud::CloudServerId) -> Result<&str, CloudError> {
    let text = id.as_str();
    let plausible = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plausible { Ok(text) } else { Err(CloudError::server_not_found()) }
}

/// A header that holds a credential. Invalid (`credentials`) for text that no header can hold.
pub fn secret_header(value: &reeve_types::Secret) -> Result<HeaderValue, CloudError> {
    let mut header = HeaderValue::from_str(value.expose())
        .map_err(|_| CloudError::invalid("credentials", "the credentials hold characters that no header can hold"))?;
    header.set_sensitive(true);
    Ok(header)
}
