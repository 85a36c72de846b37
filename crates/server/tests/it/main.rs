//! The binary as people run it: processes, files and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod https;
mod up;
