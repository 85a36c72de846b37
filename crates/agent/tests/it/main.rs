//! The real agent against a server made of `reeve-agent-proto`, over real TLS sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod agent;
mod crash;
mod disk;
mod enroll;
mod run;
mod server;
mod simulate;
