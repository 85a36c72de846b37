//! Framing: `kind: u8 | payload length: u24 big endian | stream: u32 big endian | payload`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ProtocolError;

/// Bytes before the payload of each frame.
pub const HEADER_LEN: usize = 8;
/// Largest payload of one frame, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The last or only piece of a control message (stream 0).
    Message,
    /// A piece of a control message; more follows (stream 0).
    MessagePart,
    /// Opens a byte stream; the payload is a [`crate::message::StreamOpen`].
    Open,
    /// Bytes of a stream.
    Data,
    /// Grants the receiver's peer more bytes; the payload is a big endian u32.
    Credit,
    /// The sender will send no more on this stream.
    Fin,
    /// The stream is gone; the payload is a short UTF-8 reason.
    Reset,
    /// A kind this version does not know; skipped.
    Unknown(u8),
}

impl FrameKind {
    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Message,
            2 => Self::MessagePart,
            3 => Self::Open,
            4 => Self::Data,
            5 => Self::Credit,
            6 => Self::Fin,
            7 => Self::Reset,
            other => Self::Unknown(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::MessagePart => 2,
            Self::Open => 3,
            Self::Data => 4,
            Self::Credit => 5,
            Self::Fin => 6,
            Self::Reset => 7,
            Self::Unknown(byte) => byte,
        }
    }
}

/// One decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// 0 is the control stream.
    pub stream: u32,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
}

/// Appends one frame. The payload must not be longer than [`MAX_PAYLOAD`]; callers split before.
pub fn encode(out: &mut BytesMut, kind: FrameKind, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    out.reserve(HEADER_LEN + payload.len());
    out.put_u8(kind.byte());
    out.put_uint(payload.len() as u64, 3);
    out.put_u32(stream);
    out.put_slice(payload);
}

/// Cuts an incoming byte stream into frames, whatever the chunks it arrives in.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

impl Decoder {
    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Bytes waiting for the rest of their frame.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if self.pending.len() < HEADER_LEN {
            self.release();
            return Ok(None);
        }
        let mut header = &self.pending[..HEADER_LEN];
        let kind = FrameKind::from_byte(header.get_u8());
        let len = header.get_uint(3) as usize;
        let stream = header.get_u32();
        if len > MAX_PAYLOAD {
            return Err(ProtocolError::FrameTooLarge(len));
        }
        if self.pending.len() < HEADER_LEN + len {
            return Ok(None);
        }
        self.pending.advance(HEADER_LEN);
        let payload = self.pending.split_to(len).freeze();
        Ok(Some(Frame { kind, stream, payload }))
    }

    /// An idle connection keeps no buffer.
    fn release(&mut self) {
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
        }
    }
}
