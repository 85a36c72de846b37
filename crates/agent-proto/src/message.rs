//! The messages of the control stream.
//!
//! Compatibility: a field or variant is never renumbered or reused; unknown ones are ignored; what is missing reads
//! as its default. Reserved: variants 16 (config) of the server and 17 (peers) on either side.
//! Versions: 1 is commands; 2 adds samples and questions, see [`crate::sample`].

mod access;

use prost::{Enumeration, Message, Oneof};

pub use access::{
    AliasOutcome, AliasesRegistered, RegisterAliases, SelfUpdate, SelfUpdateAnswer, SshVerified, VerifySsh,
};

use crate::sample::{Answer, Ask, Sample};

/// Oldest protocol version this build can speak.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest protocol version this build can speak.
pub const PROTOCOL_MAX: u32 = 2;

/// Anything an agent says on the control stream.
#[derive(Clone, PartialEq, Message)]
pub struct AgentMessage {
    /// Absent when the variant is not known to this version.
    #[prost(oneof = "FromAgent", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 18, 19, 20, 21")]
    pub body: Option<FromAgent>,
}

/// The variants of [`AgentMessage`].
#[derive(Clone, PartialEq, Oneof)]
pub enum FromAgent {
    /// First message of a node that wants in.
    #[prost(message, tag = "1")]
    Enroll(Box<Enroll>),
    /// First message of an enrolled node; follows `Enrolled` on the same connection too.
    #[prost(message, tag = "2")]
    Hello(Box<Hello>),
    /// Sent every heartbeat interval; answered by `Pong`.
    #[prost(message, tag = "3")]
    Heartbeat(Heartbeat),
    /// The execution is in the agent's journal and will be run, or expire, whatever happens.
    #[prost(message, tag = "4")]
    Accepted(Accepted),
    /// The execution's process is about to run.
    #[prost(message, tag = "5")]
    Started(Started),
    /// A piece of live output. Best effort: the result carries the whole output.
    #[prost(message, tag = "6")]
    Output(OutputChunk),
    /// The execution ended. Repeated after each reconnect until acknowledged.
    #[prost(message, tag = "7")]
    Result(Box<ExecutionResult>),
    /// Asks for a `Pong`.
    #[prost(message, tag = "8")]
    Ping(Ping),
    /// Answers a `Ping`.
    #[prost(message, tag = "9")]
    Pong(Pong),
    /// Names the node would like to have.
    #[prost(message, tag = "18")]
    RegisterAliases(RegisterAliases),
    /// Asks whether somebody is let in.
    #[prost(message, tag = "19")]
    VerifySsh(Box<VerifySsh>),
    /// Answers a `SelfUpdate`.
    #[prost(message, tag = "20")]
    SelfUpdateAnswer(SelfUpdateAnswer),
    /// What the node measured; sent every sample interval.
    #[prost(message, tag = "16")]
    Sample(Box<Sample>),
    /// Answers an `Ask`.
    #[prost(message, tag = "21")]
    Answer(Answer),
}

/// Anything the server says on the control stream.
#[derive(Clone, PartialEq, Message)]
pub struct ServerMessage {
    /// Absent when the variant is not known to this version.
    #[prost(oneof = "FromServer", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 18, 19, 20, 21")]
    pub body: Option<FromServer>,
}

/// The variants of [`ServerMessage`].
#[derive(Clone, PartialEq, Oneof)]
pub enum FromServer {
    /// The node is registered; it says `Hello` next.
    #[prost(message, tag = "1")]
    Enrolled(Enrolled),
    /// `Enroll` or `Hello` was refused; the server closes.
    #[prost(message, tag = "2")]
    Rejected(Rejected),
    /// The session is open.
    #[prost(message, tag = "3")]
    Welcome(Welcome),
    /// Run a command.
    #[prost(message, tag = "4")]
    Run(Box<Run>),
    /// The result is stored durably; the agent forgets the execution.
    #[prost(message, tag = "5")]
    ResultAck(ResultAck),
    /// Stop the execution: its result is exit code 143.
    #[prost(message, tag = "6")]
    Cancel(Cancel),
    /// The server does not know the execution: stop and forget it without a result.
    #[prost(message, tag = "7")]
    Drop(Forget),
    /// After `Welcome`: what the server thinks of the executions named in `Hello`.
    #[prost(message, tag = "8")]
    Sync(Sync),
    /// The server goes away; come back after a delay.
    #[prost(message, tag = "9")]
    GoAway(GoAway),
    /// Asks for a `Pong`.
    #[prost(message, tag = "10")]
    Ping(Ping),
    /// Answers a `Ping` or a `Heartbeat`.
    #[prost(message, tag = "11")]
    Pong(Pong),
    /// Answers `RegisterAliases`.
    #[prost(message, tag = "18")]
    AliasesRegistered(AliasesRegistered),
    /// Answers a `VerifySsh`.
    #[prost(message, tag = "19")]
    SshVerified(SshVerified),
    /// Update yourself.
    #[prost(message, tag = "20")]
    SelfUpdate(SelfUpdate),
    /// A question that wants an `Answer` soon.
    #[prost(message, tag = "21")]
    Ask(Ask),
}

/// Ports of the node's own services, 0 when not offered.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Ports {
    /// The node's HTTP API.
    #[prost(uint32, tag = "1")]
    pub http: u32,
    /// SSH.
    #[prost(uint32, tag = "2")]
    pub ssh: u32,
    /// Host metrics exporter.
    #[prost(uint32, tag = "3")]
    pub host_metrics: u32,
    /// WireGuard metrics exporter.
    #[prost(uint32, tag = "4")]
    pub wireguard_metrics: u32,
    /// HTTP proxy.
    #[prost(uint32, tag = "5")]
    pub http_proxy: u32,
    /// SOCKS5 proxy.
    #[prost(uint32, tag = "6")]
    pub socks5_proxy: u32,
}

/// How a node came by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum IdType {
    /// Drawn at random.
    Random = 0,
    /// Derived from the machine.
    Persistent = 1,
}

/// A node asks to be registered.
#[derive(Clone, PartialEq, Message)]
pub struct Enroll {
    /// The verbatim enrollment key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// UUID text.
    #[prost(string, tag = "2")]
    pub node_id: String,
    /// Where the id comes from.
    #[prost(enumeration = "IdType", tag = "3")]
    pub id_type: i32,
    /// Ed25519 public key, 32 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub public_key: Vec<u8>,
    /// [`crate::proof`] for `Purpose::Enroll`.
    #[prost(bytes = "vec", tag = "5")]
    pub signature: Vec<u8>,
    /// The agent's version.
    #[prost(string, tag = "6")]
    pub version: String,
    /// Ports of the node's services.
    #[prost(message, optional, tag = "7")]
    pub ports: Option<Ports>,
    /// Whether the agent may update itself.
    #[prost(bool, tag = "8")]
    pub self_update_enabled: bool,
    /// JSON object: hostname, os, kernel, arch, cpus, memory_bytes, boot_id, ...
    #[prost(string, tag = "9")]
    pub facts: String,
    /// Oldest protocol version the agent speaks.
    #[prost(uint32, tag = "10")]
    pub min_version: u32,
    /// Newest protocol version the agent speaks.
    #[prost(uint32, tag = "11")]
    pub max_version: u32,
}

/// The node is registered.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Enrolled {
    /// The node's id.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// Name of the cluster it joined.
    #[prost(string, tag = "2")]
    pub cluster_name: String,
    /// Secret for the agent's REST calls.
    #[prost(string, tag = "3")]
    pub api_token: String,
    /// Secret of the node's proxies.
    #[prost(string, tag = "4")]
    pub proxy_password: String,
    /// Agent endpoints to use from now on; empty keeps those of the key.
    #[prost(string, repeated, tag = "5")]
    pub agent_endpoints: Vec<String>,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Rejected {
    /// `invalid_key`, `key_expired`, `key_spent`, `node_limit_reached`, `node_id_taken`, `unknown_node`,
    /// `bad_signature`, `version_unsupported`, `unavailable`, ...
    #[prost(string, tag = "1")]
    pub error: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Not 0: a retry after this many milliseconds may succeed.
    #[prost(uint64, tag = "3")]
    pub retry_after_ms: u64,
}

/// How far an execution has come on the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Progress {
    /// Journalled, waiting for its turn.
    Accepted = 0,
    /// Running.
    Started = 1,
    /// Ended; its result waits for an acknowledgement.
    Finished = 2,
}

/// One execution the agent knows.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Known {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// How far it is.
    #[prost(enumeration = "Progress", tag = "2")]
    pub progress: i32,
}

/// An enrolled node opens its session.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// UUID text.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// [`crate::proof`] for `Purpose::Hello`.
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
    /// The agent's version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// JSON object as in [`Enroll::facts`].
    #[prost(string, tag = "4")]
    pub facts: String,
    /// Ports of the node's services.
    #[prost(message, optional, tag = "5")]
    pub ports: Option<Ports>,
    /// Executions in the agent's journal.
    #[prost(message, repeated, tag = "6")]
    pub known: Vec<Known>,
    /// Number of the last journal record; for diagnosis.
    #[prost(uint64, tag = "7")]
    pub journal_cursor: u64,
    /// Whether the agent may update itself.
    #[prost(bool, tag = "8")]
    pub self_update_enabled: bool,
    /// Oldest protocol version the agent speaks.
    #[prost(uint32, tag = "9")]
    pub min_version: u32,
    /// Newest protocol version the agent speaks.
    #[prost(uint32, tag = "10")]
    pub max_version: u32,
    /// The node's health as it starts the session.
    #[prost(message, optional, tag = "11")]
    pub health: Option<Heartbeat>,
    /// Counts this agent's connections over all its starts; 0 where it does not.
    #[prost(uint64, tag = "12")]
    pub session: u64,
}

/// The session is open.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Welcome {
    /// Milliseconds between heartbeats.
    #[prost(uint64, tag = "1")]
    pub heartbeat_interval_ms: u64,
    /// The server's version.
    #[prost(string, tag = "2")]
    pub server_version: String,
    /// The server's clock, microseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub server_time_us: i64,
    /// The protocol version of this session.
    #[prost(uint32, tag = "4")]
    pub protocol_version: u32,
    /// Milliseconds between samples; 0 wants none.
    #[prost(uint64, tag = "5")]
    pub sample_interval_ms: u64,
    /// Where agents are served, this server first; empty keeps what the agent knows.
    #[prost(string, repeated, tag = "8")]
    pub agent_endpoints: Vec<String>,
}

/// The node's own idea of its health.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Heartbeat {
    /// False is reported as `unhealthy`.
    #[prost(bool, tag = "1")]
    pub healthy: bool,
    /// Why it is not healthy.
    #[prost(string, repeated, tag = "2")]
    pub reasons: Vec<String>,
}

/// Run a command.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Run {
    /// The execution; at most one process is ever started for it.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// The command it belongs to.
    #[prost(string, tag = "2")]
    pub command_id: String,
    /// Text for the shell.
    #[prost(string, tag = "3")]
    pub command_text: String,
    /// 0 is no limit.
    #[prost(uint64, tag = "4")]
    pub timeout_ms: u64,
    /// Not started after this instant, microseconds since the epoch by the server's clock; 0 is never.
    #[prost(int64, tag = "5")]
    pub expires_at_us: i64,
}

/// The execution is journalled.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Accepted {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// The execution runs.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Started {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// The agent's clock, microseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub started_at_us: i64,
}

/// Live output.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OutputChunk {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// Position of `text` in the whole output, in bytes of UTF-8.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Valid UTF-8, whole characters.
    #[prost(string, tag = "3")]
    pub text: String,
    /// Bytes before `offset` that were never sent live, since the last chunk.
    #[prost(uint64, tag = "4")]
    pub dropped: u64,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ResultStatus {
    /// It ran, was cancelled, or could not be started: `exit_code` tells.
    Completed = 0,
    /// It expired before it could be started.
    Expired = 1,
}

/// The execution ended.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ExecutionResult {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
    /// 128 + signal when killed by one; 124 timed out; 143 cancelled.
    #[prost(sint32, tag = "2")]
    pub exit_code: i32,
    /// Bounded output, see [`crate::output`].
    #[prost(string, tag = "3")]
    pub output: String,
    /// The agent's clock corrected by the server's, microseconds since the epoch.
    #[prost(int64, tag = "4")]
    pub completed_at_us: i64,
    /// How it ended.
    #[prost(enumeration = "ResultStatus", tag = "5")]
    pub status: i32,
    /// Bytes the command really wrote.
    #[prost(uint64, tag = "6")]
    pub output_bytes: u64,
}

/// The result is safe.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ResultAck {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// Stop the execution.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Cancel {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// Stop and forget the execution.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Forget {
    /// The execution.
    #[prost(string, tag = "1")]
    pub execution_id: String,
}

/// The server's view of the executions named in `Hello`. Open ones that are in none of the lists go on; results the
/// agent holds are sent in any case; executions it did not name follow as `Run`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Sync {
    /// Unknown to the server, or already finished there: forget.
    #[prost(string, repeated, tag = "1")]
    pub drop: Vec<String>,
    /// Cancelled or expired while the agent was away.
    #[prost(string, repeated, tag = "2")]
    pub cancel: Vec<String>,
}

/// The server goes away.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GoAway {
    /// Wait this long before connecting again; the server spreads its agents.
    #[prost(uint64, tag = "1")]
    pub reconnect_after_ms: u64,
}

/// Asks for a `Pong` with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Ping {
    /// Any number.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
}

/// Answers a `Ping` or a `Heartbeat`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Pong {
    /// The number of the `Ping`; 0 for a heartbeat.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
}

/// Payload of the frame that opens a byte stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StreamOpen {
    /// What the stream is for: `tcp`, `file`, `metrics`, ...
    #[prost(string, tag = "1")]
    pub kind: String,
    /// What it leads to, for example `127.0.0.1:22`.
    #[prost(string, tag = "2")]
    pub target: String,
}

/// The highest version both ranges contain.
pub fn common_version(peer_min: u32, peer_max: u32) -> Option<u32> {
    let version = peer_max.min(PROTOCOL_MAX);
    (version >= peer_min.max(PROTOCOL_MIN)).then_some(version)
}

/// A message that can be wrapped for the control stream.
macro_rules! wrap {
    ($envelope:ident, $body:ident, $($variant:ident($message:ty)),* $(,)?) => {
        $(impl From<$message> for $envelope {
            fn from(message: $message) -> Self {
                Self { body: Some($body::$variant(message.into())) }
            }
        })*
    };
}

wrap!(
    AgentMessage,
    FromAgent,
    Enroll(Enroll),
    Hello(Hello),
    Heartbeat(Heartbeat),
    Accepted(Accepted),
    Started(Started),
    Output(OutputChunk),
    Result(ExecutionResult),
    Ping(Ping),
    Pong(Pong),
    Sample(Sample),
    Answer(Answer),
    RegisterAliases(RegisterAliases),
    VerifySsh(VerifySsh),
    SelfUpdateAnswer(SelfUpdateAnswer),
);
wrap!(
    ServerMessage,
    FromServer,
    Enrolled(Enrolled),
    Rejected(Rejected),
    Welcome(Welcome),
    Run(Run),
    ResultAck(ResultAck),
    Cancel(Cancel),
    Drop(Forget),
    Sync(Sync),
    GoAway(GoAway),
    Ping(Ping),
    Pong(Pong),
    Ask(Ask),
    AliasesRegistered(AliasesRegistered),
    SshVerified(SshVerified),
    SelfUpdate(SelfUpdate),
);
