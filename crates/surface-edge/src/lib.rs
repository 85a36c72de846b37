//! The edge surface: nodes, clusters, enrollment keys and commands as the published edge API has them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod envelope;
