//! Control messages and byte streams over one connection.
//!
//! Stream 0 carries control messages, split into frames when they are large. Every other stream carries bytes under
//! credit-based flow control. Agents open odd streams, servers even ones.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::ProtocolError;
use crate::frame::{self, Decoder, Frame, FrameKind, MAX_PAYLOAD};
use crate::message::StreamOpen;
use crate::stream::{INITIAL_CREDIT, StreamState};

/// Largest control message, in bytes: a result with a full output fits with room to spare.
pub const MAX_MESSAGE: usize = 2 * 1024 * 1024;
/// Streams open at once on one connection.
pub const MAX_STREAMS: usize = 256;
/// While this much output waits to be written, streams accept no more bytes, so that control messages never queue
/// behind more than this.
pub const STREAM_OUTPUT_LIMIT: usize = 64 * 1024;

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Opens odd streams.
    Agent,
    /// Opens even streams.
    Server,
}

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum MuxEvent {
    /// A whole control message, still encoded.
    Message(Bytes),
    /// The peer opened a stream.
    Opened {
        /// The stream.
        stream: u32,
        /// What for.
        open: StreamOpen,
    },
    /// Bytes of a stream; give back credit with [`Mux::consumed`].
    Data {
        /// The stream.
        stream: u32,
        /// At most one frame's worth.
        bytes: Bytes,
    },
    /// The peer granted credit: a blocked writer may go on.
    Writable {
        /// The stream.
        stream: u32,
    },
    /// The peer will send no more on the stream.
    Finished {
        /// The stream.
        stream: u32,
    },
    /// The peer gave the stream up.
    Reset {
        /// The stream.
        stream: u32,
        /// For people.
        reason: String,
    },
}

/// Framing, message assembly and stream flow control of one connection.
#[derive(Debug)]
pub struct Mux {
    side: Side,
    decoder: Decoder,
    partial: BytesMut,
    streams: HashMap<u32, StreamState>,
    next_stream: u32,
    events: VecDeque<MuxEvent>,
    output: BytesMut,
}

impl Mux {
    /// An idle multiplexer; it allocates nothing until bytes flow.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            decoder: Decoder::default(),
            partial: BytesMut::new(),
            streams: HashMap::new(),
            next_stream: match side {
                Side::Agent => 1,
                Side::Server => 2,
            },
            events: VecDeque::new(),
            output: BytesMut::new(),
        }
    }

    /// Takes in received bytes. After an error the connection must be closed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.decoder.feed(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            self.frame(frame)?;
        }
        Ok(())
    }

    /// The next thing that came in.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    /// Bytes held for messages and frames that are not complete yet. A shell that serves many connections can stop
    /// reading from some of those that hold much.
    pub fn partial_len(&self) -> usize {
        self.partial.len() + self.decoder.pending_len()
    }

    /// Queues a control message. Messages queued between two writes leave in one.
    pub fn send_message(&mut self, message: &impl Message) {
        let encoded = message.encode_to_vec();
        let mut rest: &[u8] = &encoded;
        while rest.len() > MAX_PAYLOAD {
            let (piece, after) = rest.split_at(MAX_PAYLOAD);
            frame::encode(&mut self.output, FrameKind::MessagePart, 0, piece);
            rest = after;
        }
        frame::encode(&mut self.output, FrameKind::Message, 0, rest);
    }

    /// Opens a byte stream, or tells that too many are open.
    pub fn open(&mut self, open: &StreamOpen) -> Result<u32, ProtocolError> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(ProtocolError::TooManyStreams);
        }
        let payload = open.encode_to_vec();
        if payload.len() > MAX_PAYLOAD {
            return Err(ProtocolError::FrameTooLarge(payload.len()));
        }
        let stream = self.next_stream;
        self.next_stream = stream.checked_add(2).ok_or(ProtocolError::TooManyStreams)?;
        self.streams.insert(stream, StreamState::new());
        frame::encode(&mut self.output, FrameKind::Open, stream, &payload);
        Ok(stream)
    }

    /// Queues as many of `bytes` as credit and buffers allow and returns how many; 0 for a stream that is gone. Call
    /// again after [`MuxEvent::Writable`] or once the output was written.
    pub fn send_data(&mut self, stream: u32, mut bytes: &[u8]) -> usize {
        let Some(state) = self.streams.get_mut(&stream) else {
            return 0;
        };
        if state.sent_fin {
            return 0;
        }
        let mut sent = 0;
        while !bytes.is_empty() && self.output.len() < STREAM_OUTPUT_LIMIT && state.send_credit > 0 {
            let credit = usize::try_from(state.send_credit).unwrap_or(usize::MAX);
            let n = bytes.len().min(credit).min(MAX_PAYLOAD / 4);
            frame::encode(&mut self.output, FrameKind::Data, stream, &bytes[..n]);
            state.send_credit -= n as u64;
            bytes = &bytes[n..];
            sent += n;
        }
        sent
    }

    /// Tells the peer that no more bytes follow.
    pub fn finish(&mut self, stream: u32) {
        if let Some(state) = self.streams.get_mut(&stream)
            && !state.sent_fin
        {
            state.sent_fin = true;
            frame::encode(&mut self.output, FrameKind::Fin, stream, &[]);
            if state.is_over() {
                self.streams.remove(&stream);
            }
        }
    }

    /// Gives a stream up.
    pub fn reset(&mut self, stream: u32, reason: &str) {
        if self.streams.remove(&stream).is_some() {
            let reason = &reason.as_bytes()[..reason.len().min(256)];
            frame::encode(&mut self.output, FrameKind::Reset, stream, reason);
        }
    }

    /// `bytes` received on the stream were dealt with: the peer may send as many again.
    pub fn consumed(&mut self, stream: u32, bytes: usize) {
        let Some(state) = self.streams.get_mut(&stream) else {
            return;
        };
        state.ungranted = state.ungranted.saturating_add(bytes as u64).min(u64::from(INITIAL_CREDIT));
        // Grants are batched: a frame for each small read would double the traffic.
        if state.ungranted >= u64::from(INITIAL_CREDIT) / 4 && !state.received_fin {
            let grant = u32::try_from(state.ungranted).unwrap_or(INITIAL_CREDIT);
            state.receive_credit += u64::from(grant);
            state.ungranted = 0;
            frame::encode(&mut self.output, FrameKind::Credit, stream, &grant.to_be_bytes());
        }
    }

    /// Streams open at the moment.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes waiting to be written.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Everything waiting to be written, for one write.
    pub fn take_output(&mut self) -> Bytes {
        std::mem::take(&mut self.output).freeze()
    }

    fn frame(&mut self, frame: Frame) -> Result<(), ProtocolError> {
        let Frame { kind, stream, payload } = frame;
        match kind {
            FrameKind::Message | FrameKind::MessagePart if stream != 0 => Err(ProtocolError::WrongStream(stream)),
            FrameKind::Message => {
                let message = if self.partial.is_empty() {
                    payload
                } else {
                    self.append_partial(&payload)?;
                    std::mem::take(&mut self.partial).freeze()
                };
                self.events.push_back(MuxEvent::Message(message));
                Ok(())
            }
            FrameKind::MessagePart => self.append_partial(&payload),
            FrameKind::Unknown(_) => Ok(()),
            FrameKind::Open | FrameKind::Data | FrameKind::Credit | FrameKind::Fin | FrameKind::Reset => {
                if stream == 0 {
                    return Err(ProtocolError::WrongStream(0));
                }
                self.stream_frame(kind, stream, payload)
            }
        }
    }

    fn append_partial(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        if self.partial.len() + payload.len() > MAX_MESSAGE {
            return Err(ProtocolError::MessageTooLarge);
        }
        self.partial.extend_from_slice(payload);
        Ok(())
    }

    fn stream_frame(&mut self, kind: FrameKind, stream: u32, payload: Bytes) -> Result<(), ProtocolError> {
        if kind == FrameKind::Open {
            return self.opened(stream, &payload);
        }
        // Frames for a stream we gave up may still be under way: not an error.
        let Some(state) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        match kind {
            FrameKind::Data => {
                if state.received_fin || payload.len() as u64 > state.receive_credit {
                    return Err(ProtocolError::CreditExceeded(stream));
                }
                state.receive_credit -= payload.len() as u64;
                if !payload.is_empty() {
                    self.events.push_back(MuxEvent::Data { stream, bytes: payload });
                }
            }
            FrameKind::Credit => {
                let grant: [u8; 4] = payload.as_ref().try_into().map_err(|_| ProtocolError::Malformed("credit"))?;
                state.send_credit = state.send_credit.saturating_add(u64::from(u32::from_be_bytes(grant)));
                self.events.push_back(MuxEvent::Writable { stream });
            }
            FrameKind::Fin => {
                if !state.received_fin {
                    state.received_fin = true;
                    if state.is_over() {
                        self.streams.remove(&stream);
                    }
                    self.events.push_back(MuxEvent::Finished { stream });
                }
            }
            FrameKind::Reset => {
                self.streams.remove(&stream);
                let reason = String::from_utf8_lossy(&payload[..payload.len().min(256)]).into_owned();
                self.events.push_back(MuxEvent::Reset { stream, reason });
            }
            FrameKind::Open | FrameKind::Message | FrameKind::MessagePart | FrameKind::Unknown(_) => {}
        }
        Ok(())
    }

    fn opened(&mut self, stream: u32, payload: &[u8]) -> Result<(), ProtocolError> {
        let theirs = match self.side {
            Side::Agent => stream.is_multiple_of(2),
            Side::Server => !stream.is_multiple_of(2),
        };
        if !theirs || self.streams.contains_key(&stream) {
            return Err(ProtocolError::BadStreamId(stream));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(ProtocolError::TooManyStreams);
        }
        let open = StreamOpen::decode(payload).map_err(|_| ProtocolError::Malformed("stream open"))?;
        self.streams.insert(stream, StreamState::new());
        self.events.push_back(MuxEvent::Opened { stream, open });
        Ok(())
    }
}
