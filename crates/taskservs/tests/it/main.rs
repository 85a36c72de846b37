//! The catalogue as a whole: every definition renders into what its format's own readers and the shell accept.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)] // tests start sh and shellcheck

mod examples;
mod graph;
mod quoting;
mod rendering;
mod scripts;
mod settings;
