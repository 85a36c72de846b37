//! Use cases against real databases, with a clock that is moved by hand and a fake for the way to agents.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agents;
mod clusters;
mod commands;
mod world;
