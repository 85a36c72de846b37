//! How a cloud says no, sorted by what the caller should do about it.

use reeve_types::{Error, ErrorKind};

/// What kind of no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudErrorKind {
    /// The order is wrong and stays wrong. The field is one of [`super::ServerSpec`], or empty when unknown.
    Invalid {
        /// `plan`, `zone`, `image`, `hostname`, `disk_gb`, `ssh_keys`, `user_data`, `labels`, `operation`, or empty.
        field: &'static str,
    },
    /// No such machine, or not ours to see.
    NotFound,
    /// Something else has the name, or the order contradicts an earlier one.
    Conflict,
    /// Another action is under way on it: soon it may work.
    Busy,
    /// It is in a state, or protected in a way, that forbids this.
    State,
    /// A limit of the account or its credit: a person has to act.
    Quota,
    /// The vendor has no such machine left in that zone: another plan or zone may work, or a later time.
    Capacity,
    /// The credentials are wrong, or may not do this.
    Auth,
    /// Too many calls; nothing was done. See [`CloudError::retry_after_ms`].
    RateLimited,
    /// Out of reach or out of order; nothing was changed. Trying again is safe.
    Unavailable,
    /// Asked, but no proper answer came: it may have been done. See [`super::Cloud::settle_ms`].
    Ambiguous,
}

/// A refusal or a failure of a cloud. `message` is safe to show; it never holds what we sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", if code.is_empty() { String::new() } else { format!(" ({code})") })]
pub struct CloudError {
    /// What to do about it.
    pub kind: CloudErrorKind,
    /// The vendor's own code, for people and searches; may be empty.
    pub code: String,
    /// For people: what is wrong and, where known, what is right. At most [`CloudError::MESSAGE_CHARS`] characters.
    pub message: String,
    /// For RateLimited (always) and Unavailable (where known): when to try again, in ms.
    pub retry_after_ms: Option<u64>,
}

impl CloudError {
    /// Longer messages are cut.
    pub const MESSAGE_CHARS: usize = 400;

    /// An error without a vendor's code.
    pub fn new(kind: CloudErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, code: String::new(), message: clean(message.as_ref(), Self::MESSAGE_CHARS), retry_after_ms: None }
    }
    /// [`CloudErrorKind::Invalid`] for one field of the spec.
    pub fn invalid(field: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(CloudErrorKind::Invalid { field }, message)
    }
    /// [`CloudErrorKind::NotFound`] for a machine.
    pub fn server_not_found() -> Self {
        Self::new(CloudErrorKind::NotFound, "the cloud has no such server")
    }
    /// Sets the vendor's code.
    pub fn with_code(mut self, code: &str) -> Self {
        self.code = clean(code, 80);
        self
    }
    /// Sets when to try again.
    pub fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
    /// True when the same call can succeed later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        use CloudErrorKind::*;
        match self.kind {
            Busy | Capacity | RateLimited | Unavailable | Ambiguous => true,
            Invalid { .. } | NotFound | Conflict | State | Quota | Auth => false,
        }
    }
}

/// One line without control characters, cut at `limit` characters.
fn clean(text: &str, limit: usize) -> String {
    let mut line: String = text.chars().take(limit + 1).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() > limit {
        line = line.chars().take(limit - 1).collect();
        line.push('…');
    }
    line
}

impl From<CloudError> for Error {
    /// As somebody who asked us sees it: the vendor refusing our credentials is our trouble, not theirs.
    fn from(error: CloudError) -> Self {
        let text = error.to_string();
        let converted = match error.kind {
            CloudErrorKind::Invalid { field: "" } => Error::new(ErrorKind::Invalid, text),
            CloudErrorKind::Invalid { field } => Error::invalid(field, text),
            CloudErrorKind::NotFound => Error::new(ErrorKind::NotFound, text),
            CloudErrorKind::Conflict | CloudErrorKind::Busy | CloudErrorKind::State => Error::conflict(text),
            CloudErrorKind::Quota => Error::conflict(text).with_reason("cloud_quota"),
            CloudErrorKind::Capacity => Error::unavailable(text).with_reason("cloud_capacity"),
            CloudErrorKind::Auth => Error::unavailable(text).with_reason("cloud_credentials"),
            CloudErrorKind::RateLimited => Error::unavailable(text).with_reason("cloud_rate_limit"),
            CloudErrorKind::Unavailable | CloudErrorKind::Ambiguous => Error::unavailable(text),
        };
        Error { retry_after_ms: error.retry_after_ms, ..converted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_bounded_line() {
        let error =
            CloudError::new(CloudErrorKind::State, "a\nb\u{1b}[31m".to_owned() + &"x".repeat(9999)).with_code("C\n");
        assert!(error.message.starts_with("a b [31mxx"));
        assert_eq!(error.message.chars().count(), CloudError::MESSAGE_CHARS);
        assert!(error.to_string().ends_with("… (C )"));
    }

    #[test]
    fn a_field_survives_the_way_to_the_caller() {
        let error = Error::from(CloudError::invalid("plan", "no plan huge; try 1xCPU-1GB").with_code("PLAN_INVALID"));
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.details["plan"], ["no plan huge; try 1xCPU-1GB (PLAN_INVALID)"]);
        let error = Error::from(CloudError::new(CloudErrorKind::RateLimited, "slow").with_retry_after_ms(7));
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Unavailable, Some(7)));
    }
}
