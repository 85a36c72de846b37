//! The conversation between an agent and the server, without any I/O.
//!
//! Bytes and the current time go in, bytes and events come out; sockets, timers and randomness belong to the
//! shells around it (`reeve-agent`, `reeve-agent-gateway`). Nothing here may allocate a large buffer up front:
//! a server holds tens of thousands of these sessions.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod agent;
pub mod backoff;
pub mod frame;
pub mod key;
pub mod message;
pub mod mux;
pub mod output;
pub mod proof;
pub mod sample;
pub mod server;
pub mod stream;

mod error;

pub use agent::{AgentEvent, AgentSession};
pub use error::{CloseReason, ProtocolError};
pub use key::EnrollmentKey;
pub use mux::{Mux, MuxEvent};
pub use output::{BoundedOutput, Utf8Stream};
pub use server::{ServerEvent, ServerSession};
