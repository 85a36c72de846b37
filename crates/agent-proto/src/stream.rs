//! Credit of one byte stream: neither side sends more than the other has granted.

/// Credit both sides start a stream with, in bytes.
pub const INITIAL_CREDIT: u32 = 128 * 1024;

/// One side's view of a byte stream.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// Bytes we may still send.
    pub send_credit: u64,
    /// Bytes the peer may still send.
    pub receive_credit: u64,
    /// Consumed by us, but not granted again yet.
    pub ungranted: u64,
    /// We said that we are done.
    pub sent_fin: bool,
    /// The peer said that it is done.
    pub received_fin: bool,
}

impl StreamState {
    pub fn new() -> Self {
        Self {
            send_credit: u64::from(INITIAL_CREDIT),
            receive_credit: u64::from(INITIAL_CREDIT),
            ungranted: 0,
            sent_fin: false,
            received_fin: false,
        }
    }

    pub fn is_over(&self) -> bool {
        self.sent_fin && self.received_fin
    }
}
