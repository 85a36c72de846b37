//! The edge API over HTTP: every exchange, every right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod exchanges;
mod filters;
mod hostile_urls;
mod promtool;
mod rights;
mod signatures;
