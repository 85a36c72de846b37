//! Ids, nouns, errors and the two ambient things made explicit: time and randomness.
//!
//! Must not do IO and must not know tokio, SQL, HTTP or a wire format.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
pub mod alias;
pub mod audit;
pub mod cluster;
pub mod command;
pub mod enrollment_key;
pub mod error;
pub mod event;
pub mod execution;
pub mod host;
pub mod id;
pub mod job;
pub mod node;
pub mod node_metrics;
pub mod operation;
pub mod page;
pub mod patch;
pub mod plan;
pub mod rollout;
pub mod secret;
pub mod selector;
pub mod self_update;
pub mod server;
pub mod ssh_public_key;
pub mod ssh_username;
pub mod taskserv;
pub mod text_match;
pub mod time;
pub mod user;
pub mod webhook;
pub mod workspace;

pub use access::{Actor, Permission, Principal, Role};
pub use error::{Error, ErrorKind, Result};
pub use id::*;
pub use page::{Page, Paged, Sort};
pub use patch::Patch;
pub use secret::Secret;
pub use text_match::TextMatch;
pub use time::{Clock, ManualClock, Range, SharedClock, SystemClock, Timestamp};
