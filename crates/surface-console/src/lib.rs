//! The console's own API: logins, users, tokens, the audit log, events and the server itself.
//!
//! Must not know the store or another surface; handlers convert and call the domain.

mod audit;
mod auth;
mod dto;
mod events;
pub mod routes;
mod server;
mod tokens;
mod users;

pub use routes::State;
pub use server::{Check, Doctor, ServerInfo};
