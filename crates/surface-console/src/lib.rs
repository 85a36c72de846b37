//! Reeve's own API under the console listener: logins, users, API tokens, the audit log, events, jobs, the server itself.
//!
//! Translates between the wire and the domain; must not decide anything.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod audit;
pub mod auth;
mod backups;
pub mod dto;
pub mod envelope;
pub mod events;
pub mod jobs;
pub mod routes;
pub mod seal;
pub mod server;
pub mod tokens;
pub mod users;

pub use server::{Check, Doctor, ServerInfo};
