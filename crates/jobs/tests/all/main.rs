//! Jobs, sagas, schedules and reconcilers on both databases, by a clock that is moved by hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cancel;
mod lease;
mod output;
mod reconcile;
mod retry;
mod saga;
mod saga_model;
mod schedule;
mod support;
mod unique;
