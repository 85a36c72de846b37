//! The server-side shell of the agent protocol: a TLS listener, a task per connection, and the hub that orders go
//! through. It knows no rules: what an agent may do and what becomes of its reports is decided in `reeve-domain`.
//!
//! Tens of thousands of connections are held, so an idle one owns no buffer and no queue storage.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod connection;
mod convert;
mod hub;
mod listener;
mod questions;
mod socket;

pub use hub::Hub;
pub use listener::{Gateway, Limits};
pub use socket::TlsIdentity;
