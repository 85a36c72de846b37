//! Who is asking: the seam to the identities, and what a route asks of them.

use std::net::IpAddr;

use futures::future::BoxFuture;
use reeve_types::{Actor, Permission, Result};

/// What a route asks of its caller. There is no default: a route says it or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, also without credentials.
    Public,
    /// An authenticated caller with this permission.
    Require(Permission),
}

/// Turns credentials into an actor.
pub trait Authenticate: Send + Sync + 'static {
    /// The actor behind a bearer credential. `Ok(None)` when there is none or it is unknown. The request context of the
    /// actor is filled in by the pipeline.
    ///
    /// # Errors
    /// TooMany or Unavailable when nothing can be said at the moment.
    fn authenticate<'a>(
        &'a self,
        bearer: Option<&'a str>,
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Option<Actor>>>;

    /// Returns once a bearer credential, good at the beginning of a stream, does not carry `permission` any more. A default
    /// for credentials that last.
    fn revoked(&self, _bearer: &str, _permission: Permission) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// The credential of an `Authorization` header with the exact prefix `Bearer `.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let credential = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    (!credential.is_empty()).then_some(credential)
}
