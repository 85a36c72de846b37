//! The agent: a small daemon that dials out to the server, runs the commands it is sent and reports their results.
//!
//! Protocol rules live in `reeve-agent-proto`; this crate holds the sockets, processes and files around them. It must
//! stay small: one thread for the event loop, one for the journal, no command line library.
// A shell owns the clock, the randomness and the one place that may start a shell.
#![allow(clippy::disallowed_methods)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod aliases;
mod clock;
mod connection;
mod counters;
mod daemon;
mod data_dir;
mod dial;
mod error;
mod execution;
mod executor;
mod facts;
mod identity;
mod journal;
mod journal_thread;
mod leftover;
mod membership;
mod options;
mod proxy;
mod questions;
mod record;
mod runner;
mod sample;
pub mod simulate;
pub mod ssh_credentials;
mod tls;
mod uplink;

pub use daemon::{main, run, run_with};
pub use error::AgentError;
pub use options::{Invocation, Options, USAGE};
pub use ssh_credentials::SshCredentials;

/// The agent's version, as nodes report it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
