//! What tests stand on: databases, apps, the exchange player, simulators. Never part of the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
// Tests run processes, name things by the real time and are never a library of the product.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod agents;
pub mod app;
pub mod backups;
pub mod clouds;
pub mod db;
pub mod exchange;
pub mod hostile;
pub mod remote;
pub mod saga;

pub use reeve_lab::{PATIENCE, find, until};
