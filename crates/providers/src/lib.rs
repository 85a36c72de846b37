//! Real implementations of the ports that reach servers of others over the network.
//!
//! Must not know rules: what to send, when to repeat and what an answer means is the domain's.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod fetch;
