//! Real hosts on this machine, seen through the SSH adapter. They need root, as the hosts do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)] // tests start programs

mod crash;
mod egress;
mod life;
mod rig;
mod systemd;
mod trouble;
