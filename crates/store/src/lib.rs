//! SQL and nothing else: one text for two databases, behind [`Store`], [`Tx`] and [`Row`].
//!
//! Functions take `&mut Tx` and never open, commit or authorize: the use case above does. Absent is `Option` here.
//! Must not know rules, HTTP or the agent protocol.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod db;
pub mod dialect;
pub mod filter;
pub mod migrate;
mod postgres;
mod postgres_tls;
mod sqlite;
mod sqlite_sync;
pub mod value;

pub mod admin_cluster;
pub mod alias;
pub mod api_token;
pub mod audit;
pub mod cluster;
pub mod command;
pub mod enrollment_key;
pub mod event;
pub mod execution;
mod execution_list;
pub mod execution_output;
pub mod host;
pub mod idempotency;
pub mod job;
pub mod job_output;
pub mod letter;
pub mod login_failure;
pub mod node;
pub mod node_metrics;
pub mod operation;
pub mod operation_lock;
pub mod operation_phase;
pub mod plan;
pub mod provider_credential;
pub mod refresh_token;
pub mod rollout;
pub mod schedule;
pub mod sealed;
pub mod self_update;
pub mod server;
pub mod setting;
pub mod snapshot;
pub mod ssh_public_key;
pub mod ssh_username;
pub mod taskserv;
pub mod user;
pub mod webhook;
pub mod webhook_delivery;
pub mod workspace;
pub mod workspace_key;

pub use db::{Location, Store, Topic, Tx};
pub use value::{Cell, FromCell, Row, Value};
