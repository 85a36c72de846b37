//! The adapters, against simulators that are themselves held against the vendors' own clients; requests to hostile URLs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)] // tests start programs

mod cloud;
mod fetch;
