//! A toy surface over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod listening;
mod pipeline;
mod start_up;
mod toy;
