//! What can go wrong on the wire.

use std::fmt;

/// A peer broke the rules of the protocol; the connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// A frame announced more payload than [`crate::frame::MAX_PAYLOAD`].
    FrameTooLarge(usize),
    /// A control message grew past [`crate::mux::MAX_MESSAGE`].
    MessageTooLarge,
    /// A control frame did not use stream 0, or a stream frame did.
    WrongStream(u32),
    /// More was sent on a stream than the receiver had granted.
    CreditExceeded(u32),
    /// More streams were opened than [`crate::mux::MAX_STREAMS`].
    TooManyStreams,
    /// A stream was opened with an id of the wrong side, or one in use.
    BadStreamId(u32),
    /// A payload could not be decoded.
    Malformed(&'static str),
    /// A message that the state of the conversation does not allow.
    Unexpected(&'static str),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameTooLarge(n) => write!(f, "frame of {n} bytes is larger than allowed"),
            Self::MessageTooLarge => write!(f, "control message is larger than allowed"),
            Self::WrongStream(id) => write!(f, "frame kind not allowed on stream {id}"),
            Self::CreditExceeded(id) => {
                write!(f, "peer sent more than it was granted on stream {id}")
            }
            Self::TooManyStreams => write!(f, "peer opened too many streams"),
            Self::BadStreamId(id) => write!(f, "peer opened stream {id}, which is not its to open"),
            Self::Malformed(what) => write!(f, "malformed {what}"),
            Self::Unexpected(what) => write!(f, "unexpected {what}"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing was heard from the peer for too long.
    Silent,
    /// The peer did not introduce itself in time.
    HandshakeTimeout,
    /// The peers share no protocol version.
    VersionUnsupported,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// The server refused the agent.
    Rejected,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "nothing heard from the peer"),
            Self::HandshakeTimeout => write!(f, "the peer did not introduce itself in time"),
            Self::VersionUnsupported => write!(f, "no common protocol version"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::Rejected => write!(f, "refused"),
        }
    }
}
