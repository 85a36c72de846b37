//! HTTP for every surface: contracts, the request pipeline, listeners. It knows no routes and no business.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod contract;
