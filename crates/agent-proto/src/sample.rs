//! What a node measures of its machine and of its agent, and the questions a server asks a connected agent.
//!
//! The rules of [`crate::message`] hold. A number that could not be read is absent, never 0. Spoken from protocol
//! version [`QUESTIONS_SINCE`] on: older agents are not asked, and tell nothing.

use prost::{Message, Oneof};

/// The protocol version that brought questions and samples.
pub const QUESTIONS_SINCE: u32 = 2;

/// Processors described one by one in a sample, at the most.
pub const MAX_CPUS: usize = 256;
/// Network interfaces in a sample, at the most.
pub const MAX_INTERFACES: usize = 32;

/// The server wants to know something, once.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ask {
    /// Repeated in the answer.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The server waits this long; 0 says nothing about it.
    #[prost(uint64, tag = "2")]
    pub deadline_ms: u64,
    /// Absent when the question is not known to this version: it is refused.
    #[prost(oneof = "Asked", tags = "16")]
    pub question: Option<Asked>,
}

/// The questions.
#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum Asked {
    /// A fresh sample.
    #[prost(message, tag = "16")]
    Sample(SampleWanted),
}

/// Asks for a fresh sample.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SampleWanted {}

/// The agent's answer.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// The number of the question.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Absent when the answer is not known to this version.
    #[prost(oneof = "Answered", tags = "2, 16")]
    pub answer: Option<Answered>,
}

/// The answers.
#[derive(Clone, PartialEq, Oneof)]
pub enum Answered {
    /// The agent cannot say.
    #[prost(message, tag = "2")]
    Refused(Refused),
    /// A fresh sample.
    #[prost(message, tag = "16")]
    Sample(Box<Sample>),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Refused {
    /// `unsupported` for a question that this agent does not know, else a word of the question's own.
    #[prost(string, tag = "1")]
    pub error: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// What a node measured at one moment. Pushed now and then, and the answer to [`SampleWanted`].
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// The machine.
    #[prost(message, optional, tag = "1")]
    pub host: Option<Host>,
    /// The agent.
    #[prost(message, optional, tag = "2")]
    pub agent: Option<Agent>,
}

/// The machine.
#[derive(Clone, PartialEq, Message)]
pub struct Host {
    /// Processors.
    #[prost(uint32, optional, tag = "1")]
    pub cores: Option<u32>,
    /// Load averages over 1, 5 and 15 minutes, in hundredths; empty or three.
    #[prost(uint32, repeated, tag = "2")]
    pub load_hundredths: Vec<u32>,
    /// Processes that can run.
    #[prost(uint64, optional, tag = "3")]
    pub running_processes: Option<u64>,
    /// Time since the machine started, in milliseconds.
    #[prost(uint64, optional, tag = "4")]
    pub uptime_ms: Option<u64>,
    /// Memory.
    #[prost(message, optional, tag = "5")]
    pub memory: Option<Memory>,
    /// The file system of `/`.
    #[prost(message, optional, tag = "6")]
    pub disk: Option<Disk>,
    /// Time each processor has spent, in the order of their numbers; at most [`MAX_CPUS`].
    #[prost(message, repeated, tag = "7")]
    pub cpus: Vec<CpuTime>,
    /// Network interfaces besides the loopback; at most [`MAX_INTERFACES`].
    #[prost(message, repeated, tag = "8")]
    pub interfaces: Vec<Interface>,
    /// Share of the processors' time that was not idle since the sample before, in thousandths.
    #[prost(uint32, optional, tag = "9")]
    pub busy_permille: Option<u32>,
    /// Received over all interfaces since the sample before, in bytes a second.
    #[prost(uint64, optional, tag = "10")]
    pub received_bytes_per_second: Option<u64>,
    /// Sent over all interfaces since the sample before, in bytes a second.
    #[prost(uint64, optional, tag = "11")]
    pub sent_bytes_per_second: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Memory {
    /// All of it.
    #[prost(uint64, tag = "1")]
    pub total: u64,
    /// What processes could still get.
    #[prost(uint64, optional, tag = "2")]
    pub available: Option<u64>,
    /// Used for nothing.
    #[prost(uint64, optional, tag = "3")]
    pub free: Option<u64>,
    /// Buffers of block devices.
    #[prost(uint64, optional, tag = "4")]
    pub buffers: Option<u64>,
    /// The page cache.
    #[prost(uint64, optional, tag = "5")]
    pub cached: Option<u64>,
    /// Swap space.
    #[prost(uint64, optional, tag = "6")]
    pub swap_total: Option<u64>,
    /// Swap space that is free.
    #[prost(uint64, optional, tag = "7")]
    pub swap_free: Option<u64>,
}

/// A file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Disk {
    /// Its size.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Free, with what is kept for root.
    #[prost(uint64, tag = "2")]
    pub free: u64,
    /// Free for everybody.
    #[prost(uint64, tag = "3")]
    pub available: u64,
}

/// Time one processor has spent since the machine started, in hundredths of a second.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct CpuTime {
    /// In programs.
    #[prost(uint64, tag = "1")]
    pub user: u64,
    /// In programs of low priority.
    #[prost(uint64, tag = "2")]
    pub nice: u64,
    /// In the kernel.
    #[prost(uint64, tag = "3")]
    pub system: u64,
    /// Doing nothing.
    #[prost(uint64, tag = "4")]
    pub idle: u64,
    /// Doing nothing while a disk works.
    #[prost(uint64, tag = "5")]
    pub iowait: u64,
    /// In interrupts.
    #[prost(uint64, tag = "6")]
    pub irq: u64,
    /// In soft interrupts.
    #[prost(uint64, tag = "7")]
    pub softirq: u64,
    /// Taken by other virtual machines.
    #[prost(uint64, tag = "8")]
    pub steal: u64,
    /// Its number.
    #[prost(uint32, tag = "9")]
    pub number: u32,
}

/// A network interface, counted since the machine started.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Interface {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub received_bytes: u64,
    /// Packets.
    #[prost(uint64, tag = "3")]
    pub received_packets: u64,
    /// Packets that arrived broken or not at all.
    #[prost(uint64, tag = "4")]
    pub received_errors: u64,
    /// Bytes.
    #[prost(uint64, tag = "5")]
    pub sent_bytes: u64,
    /// Packets.
    #[prost(uint64, tag = "6")]
    pub sent_packets: u64,
    /// Packets that could not be sent.
    #[prost(uint64, tag = "7")]
    pub sent_errors: u64,
}

/// The agent's process. Counters start with it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Agent {
    /// Time since it started, in milliseconds.
    #[prost(uint64, tag = "1")]
    pub uptime_ms: u64,
    /// Its memory that is in RAM, in bytes.
    #[prost(uint64, optional, tag = "2")]
    pub resident_bytes: Option<u64>,
    /// Its asynchronous tasks.
    #[prost(uint64, optional, tag = "3")]
    pub tasks: Option<u64>,
    /// Commands taken into the journal.
    #[prost(uint64, tag = "4")]
    pub commands_accepted: u64,
    /// Commands that ran to an end or were cancelled.
    #[prost(uint64, tag = "5")]
    pub commands_completed: u64,
    /// Commands that came too late to be started.
    #[prost(uint64, tag = "6")]
    pub commands_expired: u64,
    /// Results that the server has stored.
    #[prost(uint64, tag = "7")]
    pub results_stored: u64,
    /// Commands waiting for their turn.
    #[prost(uint64, tag = "8")]
    pub commands_queued: u64,
    /// Commands running.
    #[prost(uint64, tag = "9")]
    pub commands_running: u64,
    /// Results that the server has not stored yet.
    #[prost(uint64, tag = "10")]
    pub results_waiting: u64,
    /// Times the journal was compared with the server's view: once in each session.
    #[prost(uint64, tag = "11")]
    pub syncs: u64,
    /// Heartbeats sent.
    #[prost(uint64, tag = "12")]
    pub heartbeats: u64,
    /// Connections tried.
    #[prost(uint64, tag = "13")]
    pub dials: u64,
}
