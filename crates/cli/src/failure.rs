//! Why a command of the client did not do what was asked, as two lines: what happened, and what to do next.

use std::fmt;

use serde_json::Value;

/// Exit code when everything asked for succeeded.
pub const OK: u8 = 0;
/// Exit code when something failed: a node's command, or the request itself.
pub const FAILED: u8 = 1;
/// Exit code when the command line was wrong.
pub const USAGE: u8 = 2;
/// Exit code when no server answered.
pub const NOT_REACHED: u8 = 3;
/// Exit code after an interrupt that left the work running on the server.
pub const INTERRUPTED: u8 = 130;
/// Exit code when the reader of our output went away (`| head`).
const PIPE_CLOSED: u8 = 141;

/// The result of every command of the client.
pub type Outcome<T> = Result<T, Failure>;

/// A failure together with its exit code and the next step.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that makes no sense.
    Usage {
        /// What is wrong.
        what: String,
        /// What to write instead.
        next: String,
    },
    /// No server answered at the URL.
    Unreachable {
        /// The base URL that was tried.
        url: String,
        /// Why, in a few words.
        why: String,
        /// What to do.
        next: String,
    },
    /// The server answered with an error.
    Refused(Box<Refusal>),
    /// Something on this machine went wrong.
    Local {
        /// What happened.
        what: String,
        /// What to do, if there is something.
        next: Option<String>,
    },
    /// The reader of standard output has gone.
    PipeClosed,
}

/// An error answer of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code, such as `validation_failed`.
    pub code: String,
    /// The error's message.
    pub message: String,
    /// The error's details: field errors, or the missing permission.
    pub details: Value,
    /// The request id, for the server's log.
    pub request_id: Option<String>,
    /// `METHOD /path` of the request.
    pub request: String,
    /// The base URL, for the hint to log in.
    pub url: String,
    /// Whether the request carried credentials at all.
    pub had_credentials: bool,
}

impl Failure {
    /// A wrong command line.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), next: next.into() }
    }

    /// A failure on this machine.
    pub fn local(what: impl Into<String>) -> Self {
        Self::Local { what: what.into(), next: None }
    }

    /// A failure on this machine that the user can repair.
    pub fn local_with(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Local { what: what.into(), next: Some(next.into()) }
    }

    /// An answer of the server in which something is missing.
    pub fn lacking(what: &str) -> Self {
        let next = "server and client may be of different versions: compare `reeve member` with `reeve --version`";
        Self::local_with(format!("the server's answer holds no {what}"), next)
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => USAGE,
            Self::Unreachable { .. } => NOT_REACHED,
            Self::Refused(_) | Self::Local { .. } => FAILED,
            Self::PipeClosed => PIPE_CLOSED,
        }
    }

    /// Whether the server said that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 404)
    }

    /// The next step, if one is known.
    pub fn next_step(&self) -> Option<String> {
        match self {
            Self::Usage { next, .. } | Self::Unreachable { next, .. } => Some(next.clone()),
            Self::Refused(refusal) => refusal.next_step(),
            Self::Local { next, .. } => next.clone(),
            Self::PipeClosed => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { what, .. } | Self::Local { what, .. } => f.write_str(what),
            Self::Unreachable { url, why, .. } => {
                write!(f, "cannot reach the server at {url}: {why}")
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::PipeClosed => f.write_str("the reader of the output has gone"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::local(error.to_string()),
        }
    }
}

impl Refusal {
    fn permission(&self) -> Option<String> {
        ["permission", "required", "required_permission"].iter().find_map(|key| match self.details.get(key)? {
            Value::String(name) => Some(name.clone()),
            Value::Array(names) => names.first()?.as_str().map(str::to_owned),
            _ => None,
        })
    }

    /// `field: message` for every field error.
    fn field_errors(&self) -> Vec<String> {
        let Value::Object(fields) = &self.details else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for (field, problems) in fields {
            match problems {
                Value::Array(problems) => {
                    lines
                        .extend(problems.iter().filter_map(Value::as_str).map(|problem| format!("{field}: {problem}")));
                }
                Value::String(problem) => lines.push(format!("{field}: {problem}")),
                _ => {}
            }
        }
        lines
    }

    fn next_step(&self) -> Option<String> {
        let login = format!("reeve login {}", self.url);
        Some(match self.status {
            401 if !self.had_credentials => format!("log in first: {login}"),
            401 => format!("your credentials are wrong or have expired; log in again: {login}"),
            403 => match self.permission() {
                Some(permission) => format!(
                    "ask an administrator for the permission {permission}, or use other credentials (`reeve whoami` shows yours)"
                ),
                None => "use credentials with more rights (`reeve whoami` shows yours)".to_owned(),
            },
            404 => "check the name; the `list` command of the same noun shows what exists".to_owned(),
            409 => "nothing was changed; resolve the reason above and try again".to_owned(),
            400 | 422 => "correct the fields above; --help shows what the command takes".to_owned(),
            429 => "wait a moment and try again".to_owned(),
            503 => "the server cannot do this at present; `reeve doctor` says why".to_owned(),
            500..=599 => match &self.request_id {
                Some(id) => format!("look for request {id} in the server's log; `reeve doctor` checks the server"),
                None => "look into the server's log; `reeve doctor` checks the server".to_owned(),
            },
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            401 if !self.had_credentials => return write!(f, "not logged in to {}", self.url),
            403 => {
                return match self.permission() {
                    Some(permission) => write!(f, "not allowed: {} needs the permission {permission}", self.request),
                    None => write!(f, "not allowed: {} ({})", self.request, self.message),
                };
            }
            _ => {}
        }
        let fields = self.field_errors();
        if fields.is_empty() {
            write!(f, "{} ({} {})", self.message, self.status, self.code)
        } else {
            write!(f, "{}: {} ({} {})", self.message, fields.join("; "), self.status, self.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(status: u16, code: &str, message: &str, details: Value) -> Failure {
        Failure::Refused(Box::new(Refusal {
            status,
            code: code.into(),
            message: message.into(),
            details,
            request_id: Some("r-1".into()),
            request: "GET /edge/api/v1/nodes".into(),
            url: "http://h:1".into(),
            had_credentials: true,
        }))
    }

    #[test]
    fn field_errors_are_listed_on_the_first_line() {
        let failure = refusal(
            422,
            "validation_failed",
            "Validation failed",
            json!({"name": ["is reserved"], "node_limit": ["is too large", "x"]}),
        );
        assert_eq!(
            failure.to_string(),
            "Validation failed: name: is reserved; node_limit: is too large; node_limit: x (422 validation_failed)"
        );
        assert_eq!(failure.exit_code(), FAILED);
    }

    #[test]
    fn a_missing_permission_is_named() {
        let failure = refusal(403, "forbidden", "Forbidden", json!({"permission": "node.delete"}));
        assert_eq!(failure.to_string(), "not allowed: GET /edge/api/v1/nodes needs the permission node.delete");
        assert!(failure.next_step().unwrap().contains("node.delete"));
    }

    #[test]
    fn conflicts_show_the_reason_and_server_errors_the_request() {
        assert!(
            refusal(409, "conflict", "node is already in this cluster", Value::Null)
                .to_string()
                .starts_with("node is already in this cluster")
        );
        assert!(
            refusal(500, "internal_server_error", "Internal Server Error", Value::Null)
                .next_step()
                .unwrap()
                .contains("r-1")
        );
        assert!(
            refusal(401, "unauthorized", "Unauthorized", Value::Null)
                .next_step()
                .unwrap()
                .ends_with("reeve login http://h:1")
        );
    }
}
