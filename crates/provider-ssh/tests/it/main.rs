//! The adapter against real OpenSSH servers on loopback. Login is as whoever runs the tests; as root there is a second
//! login, who is not.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)] // tests start programs and look at the clock

mod connecting;
mod running;
mod sshd;
mod transfer;
