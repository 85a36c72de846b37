//! The edge surface: nodes, clusters, enrollment keys and commands as the published edge API has them.
//!
//! A handler takes the checked request apart, asks the domain once and dresses the answer; it decides nothing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod admins;
mod aliases;
mod clusters;
mod commands;
mod dto;
mod enrollment_keys;
pub mod envelope;
mod event_types;
mod executions;
mod exposition;
mod ids;
mod node_metrics;
mod nodes;
pub mod routes;
mod self_updates;
mod ssh_public_keys;
mod ssh_usernames;
mod streams;
mod webhooks;
