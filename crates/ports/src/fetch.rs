//! Requests to URLs that users gave. Whoever implements this keeps them away from the network the server stands in:
//! addresses are checked when a name is resolved and the checked ones are connected to, redirects are not followed, and
//! size and time are bounded.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

/// What is asked of another server.
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// As the user wrote it.
    pub url: String,
    /// Names and values; may hold secrets.
    pub headers: Vec<(String, String)>,
    /// The body, empty for none.
    pub body: Bytes,
    /// For everything from the name's resolution to the end of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body that are read; the rest is left.
    pub most_bytes: usize,
}

/// What the other server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The body, or its beginning.
    pub body: Bytes,
    /// Whether the body did not end within the bounds of size and time.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is forbidden to go there; the reason is safe to show.
    Refused(String),
    /// Time ran out.
    TimedOut,
    /// No connection, or it broke; what happened, safe to show.
    Unreachable(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(why) => write!(f, "refused: {why}"),
            Failure::TimedOut => f.write_str("no answer in time"),
            Failure::Unreachable(why) => f.write_str(why),
        }
    }
}

/// The way to servers of others.
pub trait Fetch: Send + Sync + 'static {
    /// Whether a request to `url` would be allowed at this moment, by the same rules as [`send`](Self::send). A name that
    /// does not resolve is allowed: it is checked again whenever it is used. Err is the reason, safe to show.
    fn check<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// Sends a request.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, Failure>>;
}

/// No way to others: for a server without outgoing requests.
#[derive(Debug, Default)]
pub struct NoFetch;

impl Fetch for NoFetch {
    fn check<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("this server sends no requests".to_owned()) })
    }
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(async { Err(Failure::Refused("this server sends no requests".to_owned())) })
    }
}
