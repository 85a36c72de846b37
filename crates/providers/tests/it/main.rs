//! The adapters, against simulators that are themselves held against the vendors' own clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)] // tests start programs

mod cloud;
