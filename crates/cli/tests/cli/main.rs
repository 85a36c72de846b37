//! The client's commands from argument to exit code, against a fake of the console listener.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod apply;
mod backups;
mod errors;
mod fake;
mod help;
mod login;
mod metrics;
mod nouns;
mod output;
mod provisioning;
mod run;
mod streams;
mod tls;
mod webhooks;
