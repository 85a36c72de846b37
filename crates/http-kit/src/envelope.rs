//! The seam between what happened and how a surface says it.

use std::time::Duration;

use http::StatusCode;
use reeve_types::{Error, Timestamp};

use crate::contract::Violations;
use crate::page::Pagination;

/// Everything a request can end with besides a [`Reply`](crate::Reply).
#[derive(Debug)]
pub enum Fault {
    /// A use case said no, or authentication did.
    Refused(Error),
    /// Parameters or fields of the wrong shape.
    BadRequest(Violations),
    /// The body is not JSON.
    MalformedBody,
    /// No such route.
    UnknownRoute,
    /// The route exists with other methods only.
    WrongMethod {
        /// Those methods, as in the `Allow` header.
        allow: String,
    },
    /// A body that is not declared as JSON.
    UnsupportedMediaType,
    /// A body over the limit.
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The body did not arrive in time.
    SlowBody,
    /// Over the request limit.
    OverLimit {
        /// When to come back.
        retry_after: Duration,
    },
    /// More nodes than capacity: operations that would change the fleet's shape are closed.
    Degraded,
    /// The handler took too long.
    TimedOut,
    /// The handler panicked.
    Panicked,
    /// The idempotency key was used with another request.
    IdempotencyMismatch,
    /// The request with this idempotency key is still running.
    IdempotencyInProgress,
    /// The request with this idempotency key was applied, and its answer was lost with the server that was to give it.
    IdempotencyUnanswered,
}

/// What a client is told after [`Fault::IdempotencyUnanswered`].
pub const UNANSWERED: &str = "the first request with this Idempotency-Key was applied, but its answer was lost; look at \
    what it made before you send it again with another key";

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What an envelope says about the answer itself.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// Equal to the `x-request-id` header.
    pub request_id: &'a str,
    /// When the answer is made.
    pub now: Timestamp,
}

/// A surface's way to wrap data and to say no.
pub trait Envelope: Send + Sync + 'static {
    /// The body around `json`, which is the text of one JSON value.
    fn data(&self, json: &str, pagination: Option<&Pagination>, meta: Meta<'_>) -> String;

    /// Status and body of a refusal. Implementations match without a wildcard.
    fn fault(&self, fault: &Fault, meta: Meta<'_>) -> (StatusCode, String);
}
