//! Use cases and rules. `pub async fn verb(app, actor, input) -> Result<Noun>`; the first line authorizes, the use case
//! opens and commits its transaction, and no network call happens in between.
//!
//! Must not know HTTP, a wire word or a listener.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod address;
pub mod admin;
pub mod admin_metrics;
pub mod agent;
pub mod alias;
pub mod app;
pub mod audit;
pub mod authz;
pub mod background;
pub mod backup;
pub mod catalogue;
pub mod cluster;
pub mod command;
pub mod config;
pub mod counters;
pub mod credential;
pub mod enrollment_key;
pub mod event;
pub mod execution;
pub mod host;
pub mod idempotency;
pub mod identity;
pub mod job;
pub mod node;
pub mod node_metrics;
pub mod operation;
pub mod plan;
pub mod process;
pub mod recurring;
pub mod seal;
pub mod self_update;
pub mod server;
pub mod ssh_public_key;
pub mod ssh_username;
pub mod taskserv;
pub mod webhook;
pub mod workflow;
pub mod workspace;

pub use app::App;
