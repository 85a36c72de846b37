//! The records of the journal and their form on disk: `length: u32 | check: 4 bytes of SHA-256 | payload`.

use prost::{Message, Oneof};
use reeve_agent_proto::message::{ExecutionResult, Run};
use sha2::{Digest, Sha256};

/// Bytes before the payload of each record.
pub const RECORD_HEADER: usize = 8;
/// Largest payload, in bytes; more is damage.
pub const MAX_RECORD: usize = 8 * 1024 * 1024;

/// One line of the journal.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    /// Absent when written by a later version.
    #[prost(oneof = "Fact", tags = "1, 2, 3, 4, 5, 6")]
    pub fact: Option<Fact>,
}

/// What a record states.
#[derive(Clone, PartialEq, Oneof)]
pub enum Fact {
    /// The command will be run.
    #[prost(message, tag = "1")]
    Accepted(Run),
    /// Its process may exist from here on: it is never started again.
    #[prost(message, tag = "2")]
    Started(Started),
    /// Its process.
    #[prost(message, tag = "3")]
    Spawned(Spawned),
    /// It ended.
    #[prost(message, tag = "4")]
    Result(ExecutionResult),
    /// The server has the result, or does not want it.
    #[prost(message, tag = "5")]
    Forgotten(Forgotten),
    /// Executions forgotten lately, kept so that a late duplicate is not run.
    #[prost(message, tag = "6")]
    Past(Past),
}

/// See [`Fact::Started`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Started {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// See [`Fact::Spawned`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Spawned {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// Process id, and id of its process group.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Clock ticks between boot and the start of the process; tells it from a later one with its id.
    #[prost(uint64, tag = "3")]
    pub start_ticks: u64,
    /// The boot it ran in.
    #[prost(string, tag = "4")]
    pub boot_id: String,
}

/// See [`Fact::Forgotten`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Forgotten {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// See [`Fact::Past`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Past {
    /// Oldest first.
    #[prost(string, repeated, tag = "1")]
    pub execution_ids: Vec<String>,
}

impl From<Fact> for Record {
    fn from(fact: Fact) -> Self {
        Self { fact: Some(fact) }
    }
}

/// Appends the record's form on disk and returns its length.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> usize {
    let payload = record.encode_to_vec();
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&check(&payload));
    out.extend_from_slice(&payload);
    RECORD_HEADER + payload.len()
}

/// The record at the start of `bytes` and its length on disk; `None` when it is torn or damaged.
pub fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let header = bytes.get(..RECORD_HEADER)?;
    let len = u32::from_be_bytes(header[..4].try_into().ok()?) as usize;
    if len > MAX_RECORD {
        return None;
    }
    let payload = bytes.get(RECORD_HEADER..RECORD_HEADER + len)?;
    if check(payload) != header[4..] {
        return None;
    }
    Some((Record::decode(payload).ok()?, RECORD_HEADER + len))
}

fn check(payload: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(payload);
    [digest[0], digest[1], digest[2], digest[3]]
}
