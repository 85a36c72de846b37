//! What to run on a host, what it prints, and how it ends.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reeve_types::Secret;

use super::RemoteError;

/// One command for a host.
#[derive(Clone, Debug)]
pub struct RemoteOrder {
    /// The program and its arguments, as they shall arrive: nothing in them is special to a shell. To run a script give
    /// `sh` and feed it by [`RemoteOrder::stdin`], or `sh -c TEXT`.
    pub argv: Vec<String>,
    /// Set for the command besides what the login gives it. Names are of `A-Z a-z 0-9 _` and begin with no digit.
    pub env: Vec<(String, Secret)>,
    /// What the command reads; then its input ends.
    pub stdin: Bytes,
    /// The folder to run in; None is the login's home.
    pub directory: Option<String>,
    /// Time from the sending to the end, waiting for a free session included.
    pub timeout: Duration,
    /// Bytes handed to the sink, both pipes together. What comes beyond is read, counted and thrown away: a flood neither
    /// stops the command nor fills our memory.
    pub output_bytes: u64,
}

impl RemoteOrder {
    /// Time between being asked to end (TERM) and being made to (KILL).
    pub const GRACE: Duration = Duration::from_secs(3);
    /// For [`RemoteOrder::timeout`] where nothing speaks for another.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// For [`RemoteOrder::output_bytes`] where nothing speaks for another.
    pub const OUTPUT_BYTES: u64 = 1024 * 1024;
    /// Words, environment and folder together hold no more than this; larger things are input or files.
    pub const TEXT_BYTES: usize = 256 * 1024;

    /// These words, with the usual bounds, no input and no environment.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            stdin: Bytes::new(),
            directory: None,
            timeout: Self::TIMEOUT,
            output_bytes: Self::OUTPUT_BYTES,
        }
    }
    /// A script for the host's `sh`, given as its input, so that it shows on no command line. A command inside it that
    /// reads its input would eat the rest of the script: give such ones `</dev/null`.
    pub fn script(text: impl Into<Bytes>) -> Self {
        Self { stdin: text.into(), ..Self::new(["sh", "-s"]) }
    }
    /// Adds a variable.
    pub fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), Secret::new(value)));
        self
    }
    /// Sets the input.
    pub fn with_stdin(mut self, stdin: impl Into<Bytes>) -> Self {
        self.stdin = stdin.into();
        self
    }
    /// Sets the time limit.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks what does not need the host.
    pub fn validate(&self) -> Result<(), RemoteError> {
        let Some(program) = self.argv.first() else {
            return Err(RemoteError::invalid("an order has at least one word, the program"));
        };
        if program.is_empty() || program.starts_with('-') {
            return Err(RemoteError::invalid(
                "the program is a name or a path, neither empty nor beginning with a hyphen",
            ));
        }
        if let Some((name, _)) = self.env.iter().find(|(name, _)| !is_variable(name)) {
            return Err(RemoteError::invalid(format!(
                "{name:?} is no name of a variable; those are of A-Z a-z 0-9 _ and begin with no digit"
            )));
        }
        if self.directory.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
            return Err(RemoteError::invalid("the folder of an order is an absolute path"));
        }
        let values = self.env.iter().map(|(_, value)| value.expose());
        let texts = || self.argv.iter().map(String::as_str).chain(self.directory.as_deref()).chain(values.clone());
        if texts().any(|text| text.contains('\0')) {
            return Err(RemoteError::invalid("words, values and folders of an order hold no NUL"));
        }
        let bytes: usize = texts().map(str::len).sum();
        if bytes > Self::TEXT_BYTES {
            return Err(RemoteError::invalid(format!(
                "words and values of {bytes} bytes; at most {} fit, give more as input or as a file",
                Self::TEXT_BYTES
            )));
        }
        Ok(())
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Where a command printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pipe {
    /// Its output.
    Stdout,
    /// Its complaints.
    Stderr,
}

/// Takes output while it comes, in pieces that can end in the middle of a character or a line.
pub trait OutputSink: Send {
    /// Must not block for long: nothing more is read from the host meanwhile.
    fn write(&mut self, pipe: Pipe, bytes: &[u8]);
}

/// Forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl OutputSink for Nowhere {
    fn write(&mut self, _: Pipe, _: &[u8]) {}
}

/// Keeps the first and the last bytes of each pipe, `limit` of each at the most.
#[derive(Clone, Debug)]
pub struct Kept {
    limit: usize,
    stdout: Ends,
    stderr: Ends,
}

#[derive(Clone, Debug, Default)]
struct Ends {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Kept {
    /// Keeps `limit` bytes of each pipe: a half from the beginning, a half from the end.
    pub fn new(limit: usize) -> Self {
        Self { limit, stdout: Ends::default(), stderr: Ends::default() }
    }
    /// What the command printed; bytes that are no UTF-8 are replaced, a gap is marked.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }
    /// What it complained of.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }
    /// The last complaint that is not empty, else the last line of the output: what to show of a failure.
    pub fn last_words(&self) -> String {
        let last = |text: String| text.lines().rev().find(|l| !l.trim().is_empty()).map(|l| l.trim().to_owned());
        last(self.stderr()).or_else(|| last(self.stdout())).unwrap_or_default()
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(64 * 1024)
    }
}

impl OutputSink for Kept {
    fn write(&mut self, pipe: Pipe, bytes: &[u8]) {
        let half = self.limit / 2;
        let ends = match pipe {
            Pipe::Stdout => &mut self.stdout,
            Pipe::Stderr => &mut self.stderr,
        };
        let (first, rest) = bytes.split_at(bytes.len().min(half.saturating_sub(ends.head.len())));
        ends.head.extend_from_slice(first);
        ends.tail.extend(rest);
        let over = ends.tail.len().saturating_sub(half);
        ends.tail.drain(..over);
        ends.omitted += over as u64;
    }
}

impl Ends {
    fn text(&self) -> String {
        let (a, b) = self.tail.as_slices();
        if self.omitted == 0 {
            return String::from_utf8_lossy(&[&self.head, a, b].concat()).into_owned();
        }
        let head = String::from_utf8_lossy(&self.head);
        let tail = [a, b].concat();
        format!("{head}\n...[truncated: {} bytes omitted]...\n{}", self.omitted, String::from_utf8_lossy(&tail))
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status. 127: there is no such program, 126: it cannot be run.
    Exited(u32),
    /// By a signal, named without `SIG`: `KILL`, `TERM`.
    Signalled(String),
}

/// What is known of a command that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Bytes that it printed, those thrown away included.
    pub output_bytes: u64,
    /// Bytes of them that were beyond [`RemoteOrder::output_bytes`] and did not reach the sink.
    pub omitted_bytes: u64,
}

impl Outcome {
    /// True for an end with status 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Exited(0)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(127) => f.write_str("exit status 127 (no such program)"),
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_flood_are_kept() {
        let mut kept = Kept::new(8);
        for byte in b"abcdefghijkl" {
            kept.write(Pipe::Stdout, &[*byte]);
        }
        kept.write(Pipe::Stderr, b"one\n\n");
        assert_eq!(kept.stdout(), "abcd\n...[truncated: 4 bytes omitted]...\nijkl");
        assert_eq!((kept.stderr().as_str(), kept.last_words().as_str()), ("one\n\n", "one"));
        let mut kept = Kept::new(8);
        kept.write(Pipe::Stdout, b"abcdefgh");
        assert_eq!((kept.stdout().as_str(), kept.last_words().as_str()), ("abcdefgh", "abcdefgh"));
    }

    #[test]
    fn wrong_orders_are_found_before_they_are_sent() {
        assert!(RemoteOrder::new(["true", "a b'c\n"]).with_env("A_1", "x\ny").validate().is_ok());
        for bad in [
            RemoteOrder::new(Vec::<String>::new()),
            RemoteOrder::new([""]),
            RemoteOrder::new(["-c"]),
            RemoteOrder::new(["a\0b"]),
            RemoteOrder::new(["true"]).with_env("1A", ""),
            RemoteOrder::new(["true"]).with_env("A B", ""),
            RemoteOrder::new(["true"]).with_env("A", "\0"),
            RemoteOrder::new(["true".to_owned(), "x".repeat(RemoteOrder::TEXT_BYTES)]),
            RemoteOrder { directory: Some("tmp".to_owned()), ..RemoteOrder::new(["true"]) },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
