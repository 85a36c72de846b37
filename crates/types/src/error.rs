//! The one error every layer above the store speaks.

use std::collections::BTreeMap;

/// Shorthand used in every layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of "no" an [`Error`] is. Each surface maps every kind to its own wire shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The input breaks a rule; `details` names the fields.
    Invalid,
    /// The world's state forbids it; the message is the reason.
    Conflict,
    /// Nobody, or nobody we know.
    Unauthenticated,
    /// Somebody, but not allowed.
    Forbidden,
    /// A limit; `retry_after_ms` says when to come back.
    TooMany,
    /// Not at the moment; trying again later can work.
    Unavailable,
    /// Our fault. The message stays general, the source is logged.
    Internal,
}

/// An error with a message that is safe to show and a source that is only logged.
#[derive(Debug)]
pub struct Error {
    /// The kind of refusal.
    pub kind: ErrorKind,
    /// Safe to show to the caller.
    pub message: String,
    /// A stable word where one kind has several reasons (`degraded_mode`), else empty.
    pub reason: &'static str,
    /// Field path -> what is wrong with it.
    pub details: BTreeMap<String, Vec<String>>,
    /// For [`ErrorKind::TooMany`] and [`ErrorKind::Unavailable`]: when to try again.
    pub retry_after_ms: Option<u64>,
    /// Logged once where the error is handled, never shown.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with a message for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), reason: "", details: BTreeMap::new(), retry_after_ms: None, source: None }
    }
    /// [`ErrorKind::NotFound`]; `what` is the noun, as in `node`.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("{what} not found"))
    }
    /// [`ErrorKind::Invalid`] for one field.
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "Validation failed").with_detail(field, problem)
    }
    /// [`ErrorKind::Conflict`]; the message is the reason.
    pub fn conflict(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, reason)
    }
    /// [`ErrorKind::Unauthenticated`].
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, message)
    }
    /// [`ErrorKind::Forbidden`].
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }
    /// [`ErrorKind::Forbidden`] for somebody without `permission`; the details name it, so that the answer says what to ask
    /// an administrator for.
    pub fn missing_permission(permission: crate::Permission) -> Self {
        let word = permission.word();
        Self::forbidden(format!("the permission `{word}` is missing"))
            .with_detail("permission", format!("`{word}` is missing"))
    }
    /// [`ErrorKind::TooMany`], to be tried again after `retry_after_ms` milliseconds.
    pub fn too_many(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorKind::TooMany, message) }
    }
    /// [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }
    /// [`ErrorKind::Internal`]: `source` goes to the log, the caller sees a general message.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::new(ErrorKind::Internal, "Internal Server Error") }
    }
    /// Adds one problem of one field.
    pub fn with_detail(mut self, field: &str, problem: impl Into<String>) -> Self {
        self.details.entry(field.to_owned()).or_default().push(problem.into());
        self
    }
    /// Sets the stable reason word.
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
    /// Sets the logged source.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for (field, problems) in &self.details {
            write!(f, "; {field}: {}", problems.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}
