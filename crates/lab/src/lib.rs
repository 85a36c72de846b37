//! Real processes on real networks: namespaces as hosts, a NAT router, the `reeve` binary driven from outside through
//! its command line and HTTP only. For end-to-end tests and benchmarks. It knows no other crate of ours, so that
//! nothing but the shipped binary is under test.
#![allow(clippy::print_stderr)] // a destructor that fails can only say so
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod http;
pub mod net;
pub mod process;
pub mod reeve;
pub mod wait;

pub use http::{Answer, Client};
pub use net::{Host, Lab, Router};
pub use process::Process;
pub use reeve::{Agent, Server, ServerOptions};
pub use wait::{PATIENCE, eventually, find, until, wait_for};
