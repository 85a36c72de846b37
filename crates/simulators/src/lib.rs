//! Stand-ins for services that no package registry has: HTTP servers on loopback that answer as the originals do, with
//! their oddities, a clock that tests move, and faults on demand. Never part of the product.
//!
//! Each is held against an independent client of the original (see the tests of `reeve-providers`).
#![allow(clippy::unwrap_used, clippy::expect_used)] // a broken simulator is a broken test

pub mod front;
pub mod hetzner;
pub mod k3s;
pub mod proxy;
pub mod time;
pub mod upcloud;

pub use front::{Front, Trouble};
pub use hetzner::HetznerSimulator;
pub use proxy::Proxy;
pub use time::SimulatedTime;
pub use upcloud::UpCloudSimulator;
