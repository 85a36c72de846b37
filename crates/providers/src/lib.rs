//! The light implementations of ports that reach servers of others, a module each. What needs a heavy library has a crate
//! of its own.
//!
//! Must not know the domain or its rules: settings and secrets come in, plain answers go out.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod cloud;
pub mod fetch;
