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
    /// No server is known at all.
    NoServer {
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
    /// Somebody pressed Ctrl-C at a question.
    Interrupted,
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
            Self::Unreachable { .. } | Self::NoServer { .. } => NOT_REACHED,
            Self::Refused(_) | Self::Local { .. } => FAILED,
            Self::PipeClosed => PIPE_CLOSED,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// Whether the server said that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 404)
    }

    /// The next step, if one is known.
    pub fn next_step(&self) -> Option<String> {
        match self {
            Self::Usage { next, .. } | Self::Unreachable { next, .. } | Self::NoServer { next } => Some(next.clone()),
            Self::Refused(refusal) => refusal.next_step(),
            Self::Local { next, .. } => next.clone(),
            Self::PipeClosed | Self::Interrupted => None,
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
            Self::NoServer { .. } => f.write_str("not logged in to any server"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::PipeClosed => f.write_str("the reader of the output has gone"),
            Self::Interrupted => f.write_str("interrupted"),
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

/// What a request was about.
struct Place {
    noun: &'static str,
    /// The command that lists them.
    list: &'static str,
    /// The one that was named, unless it was about all of them.
    name: Option<String>,
}

/// Collections of the edge surface and of the console, and what people call what is in them.
const PLACES: &[(&str, &str, &str)] = &[
    ("clusters", "cluster", "cluster list"),
    ("nodes", "node", "node list"),
    ("enrollment_keys", "key", "key list"),
    ("commands", "command", "command list"),
    ("command_executions", "execution", "execution list"),
    ("aliases", "alias", "alias list"),
    ("ssh_usernames", "SSH username", "ssh-user list"),
    ("ssh_public_keys", "SSH public key", "ssh-user key list"),
    ("self_update_requests", "self-update", "self-update list"),
    ("webhooks", "webhook", "webhook list"),
    ("users", "user", "user list"),
    ("tokens", "token", "token list"),
    ("jobs", "job", "job list"),
];

impl Refusal {
    fn place(&self) -> Option<Place> {
        let path = self.request.split_once(' ')?.1;
        let mut segments = path.split('/').skip_while(|segment| !PLACES.iter().any(|place| place.0 == *segment));
        let collection = segments.next()?;
        let (_, noun, list) = PLACES.iter().find(|place| place.0 == collection)?;
        Some(Place { noun, list, name: segments.next().map(unescaped) })
    }

    fn permission(&self) -> Option<String> {
        let told = ["permission", "required", "required_permission"].iter().find_map(|key| {
            match self.details.get(key)? {
                Value::String(name) => Some(name.as_str()),
                Value::Array(names) => names.first()?.as_str(),
                _ => None,
            }
        })?;
        // Surfaces that tell it as the problem of a field write "`edge.nodes.read` is missing".
        Some(told.split('`').nth(1).unwrap_or(told).to_owned())
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
            404 => match self.place() {
                Some(Place { list, name: Some(_), .. }) => format!("`reeve {list}` shows which there are"),
                Some(Place { name: None, .. }) if self.request.starts_with("GET ") => {
                    "give the URL of the console listener (by default port 7400)".to_owned()
                }
                _ => match self.message.strip_suffix(" not found") {
                    Some(noun @ ("workspace" | "server" | "operation" | "workflow" | "plan" | "provider")) => {
                        format!("`reeve {noun} list` shows which there are")
                    }
                    _ => "check the name; the `list` command of the same noun shows what exists".to_owned(),
                },
            },
            409 => "nothing was changed; resolve the reason above and try again".to_owned(),
            400 | 422 => "correct the fields above; --help shows what the command takes".to_owned(),
            413 => "give less at once; what is large can be fetched by the command itself".to_owned(),
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

/// A segment of a path as somebody wrote it.
fn unescaped(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        let (byte, length) = match code {
            Some(code) if *first == b'%' => (code, 3),
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    crate::out::one_line(&String::from_utf8_lossy(&bytes))
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
            // The bare sentence of a surface names nothing.
            404 if self.message == "Resource not found" => match self.place() {
                Some(Place { noun, name: Some(name), .. }) => {
                    return write!(f, "no {noun} is called '{name}' (404 {})", self.code);
                }
                Some(Place { name: None, .. }) if self.request.starts_with("GET ") => {
                    return write!(f, "{} does not know {} (404 {})", self.url, self.request, self.code);
                }
                _ => {}
            },
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
        let failure = refusal(403, "forbidden", "x", json!({"permission": ["`edge.commands.run` is missing"]}));
        assert!(failure.to_string().ends_with("needs the permission edge.commands.run"), "{failure}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = |request: &str| {
            let Failure::Refused(mut refusal) = refusal(404, "not_found", "Resource not found", Value::Null) else {
                unreachable!()
            };
            refusal.request = request.into();
            let failure = Failure::Refused(refusal);
            (failure.to_string(), failure.next_step().unwrap())
        };
        assert_eq!(
            missing("POST /edge/api/v1/clusters/no%20such/enrollment_keys"),
            (
                "no cluster is called 'no such' (404 not_found)".into(),
                "`reeve cluster list` shows which there are".into()
            )
        );
        // Another listener than the console's.
        let (what, next) = missing("GET /edge/api/v1/nodes");
        assert_eq!(what, "http://h:1 does not know GET /edge/api/v1/nodes (404 not_found)");
        assert!(next.contains("console listener"), "{next}");
        assert_eq!(missing("GET /api/member").0, "Resource not found (404 not_found)");
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
