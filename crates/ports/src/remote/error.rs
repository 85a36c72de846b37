//! How the way to a host fails, sorted by what the caller should do about it.

use reeve_types::{Error, ErrorKind};

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// The order or the target is wrong and stays wrong: nothing was sent.
    Invalid,
    /// Nobody answers there, or not with SSH, or not in time: nothing was done, trying again is safe.
    Unreachable,
    /// The host shows another key than the pinned one; the message has both fingerprints. Never tried again by itself: a
    /// person finds out whether the host was made anew or somebody sits in between.
    HostKeyChanged,
    /// The host does not let this user in with this key.
    Auth,
    /// The host answered and did not do it: no room for a session, a file that cannot be written.
    Refused,
    /// The order ran out of its time and was told to stop: it did a part of its work.
    TimedOut,
    /// The connection broke after the order was sent: it may have been done, in part or whole.
    Lost,
}

/// A failure on the way to a host. `message` is safe to show: it holds no secret and nothing that was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What to do about it.
    pub kind: RemoteErrorKind,
    /// For people, on one line of at most [`RemoteError::MESSAGE_CHARS`] characters.
    pub message: String,
}

impl RemoteError {
    /// Longer messages are cut.
    pub const MESSAGE_CHARS: usize = 600;

    /// An error of `kind`. Control characters of the host's own words become spaces.
    pub fn new(kind: RemoteErrorKind, message: impl AsRef<str>) -> Self {
        let line = message.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut message: String = line.clone().take(Self::MESSAGE_CHARS).collect();
        if line.count() > Self::MESSAGE_CHARS {
            message.pop();
            message.push('…');
        }
        Self { kind, message: message.trim_end().to_owned() }
    }
    /// [`RemoteErrorKind::Invalid`].
    pub fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(RemoteErrorKind::Invalid, message)
    }
    /// True when the same call can succeed later without anybody changing anything, and nothing was done by this one.
    pub fn is_passing(&self) -> bool {
        match self.kind {
            RemoteErrorKind::Unreachable => true,
            RemoteErrorKind::Invalid
            | RemoteErrorKind::HostKeyChanged
            | RemoteErrorKind::Auth
            | RemoteErrorKind::Refused
            | RemoteErrorKind::TimedOut
            | RemoteErrorKind::Lost => false,
        }
    }
    /// True when the order may have left something behind on the host.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.kind, RemoteErrorKind::TimedOut | RemoteErrorKind::Lost)
    }
}

impl From<RemoteError> for Error {
    /// As somebody who asked us sees it.
    fn from(error: RemoteError) -> Self {
        let text = error.message;
        match error.kind {
            RemoteErrorKind::Invalid => Error::new(ErrorKind::Invalid, text),
            RemoteErrorKind::HostKeyChanged => Error::conflict(text).with_reason("host_key_changed"),
            RemoteErrorKind::Auth => Error::conflict(text).with_reason("ssh_login"),
            RemoteErrorKind::Refused => Error::conflict(text).with_reason("ssh_refused"),
            RemoteErrorKind::Unreachable => Error::unavailable(text).with_reason("ssh_unreachable"),
            RemoteErrorKind::TimedOut => Error::unavailable(text).with_reason("ssh_timeout"),
            RemoteErrorKind::Lost => Error::unavailable(text).with_reason("ssh_lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_bounded_line() {
        let error = RemoteError::new(RemoteErrorKind::Refused, "no\nway\u{1b}[0m".to_owned() + &"x".repeat(9999));
        assert!(error.message.starts_with("no way [0mxx"));
        assert_eq!(error.message.chars().count(), RemoteError::MESSAGE_CHARS);
        assert!(error.message.ends_with('…'));
    }

    #[test]
    fn what_may_have_happened_is_never_called_passing() {
        use RemoteErrorKind::*;
        for kind in [Invalid, Unreachable, HostKeyChanged, Auth, Refused, TimedOut, Lost] {
            let error = RemoteError::new(kind, "x");
            assert!(!(error.is_passing() && error.may_have_happened()), "{kind:?}");
        }
    }
}
