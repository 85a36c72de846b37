//! The store on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
mod lists;
mod postgres_tls;
mod schemas;
