//! The provisioning surface: servers, taskservs, workflows, operations and workspaces as the published provisioning API has
//! them.
//!
//! A handler takes the checked request apart, asks the domain once and dresses the answer; it decides nothing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod audit;
mod auth;
mod credentials;
mod dto;
pub mod envelope;
mod ids;
mod operations;
mod plans;
mod providers;
pub mod routes;
mod servers;
mod system;
mod taskservs;
mod workflows;
mod workspaces;

pub use system::About;
