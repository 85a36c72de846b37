//! What tests stand on: databases, apps, the exchange player, simulators. Never part of the product.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub mod db;
pub mod exchange;
pub mod saga;
