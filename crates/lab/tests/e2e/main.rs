//! End-to-end tests: the shipped binary, real processes, real networks, killed at bad moments. They need root and
//! `REEVE_BIN`; `cargo xtask test --only e2e` provides both. Side effects are counted in files, because what a
//! server believes is not what happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod backup;
mod cluster;
mod disk;
mod enroll;
mod fleet;
mod local_servers;
mod nat;
mod net;
mod servers;
mod systemd;
mod taskservs;
mod upgrades;
mod webhooks;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// Generous: two cores run hundreds of processes.
const LIMIT: Duration = Duration::from_secs(240);

fn binary() -> PathBuf {
    let path = std::env::var_os("REEVE_BIN").expect("REEVE_BIN is not set; run `cargo xtask test --only e2e`");
    PathBuf::from(path)
}

/// A port of `address` that was free a moment ago; a server needs the same one again after it was killed.
fn free_port(address: std::net::Ipv4Addr) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}
