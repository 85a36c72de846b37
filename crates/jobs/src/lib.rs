//! Asynchronous work: jobs, sagas, schedules and reconcilers over the tables of the store.
//!
//! Generic over a context `C` that bodies are given. Must not know what the work is about; must not read a clock or
//! make ids other than those it is given. Timers only wake it, the given clock decides.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod body;
mod core;
mod cron;
mod enqueue;
pub mod fault;
mod operate;
mod output;
mod progress;
mod reconcile;
mod registry;
mod runner;
mod saga;
mod schedule;
mod wait;

pub use body::{Body, Failure, Running};
pub use cron::Cron;
pub use enqueue::{NewJob, enqueue, enqueue_many};
pub use operate::{backlog, cancel, depths, failed_since, get, hurry, list, prune, retry};
pub use output::{HEAD_BYTES, Meter, OutputPage, Printer, TAIL_BYTES, read_output};
pub use progress::{Leftover, StepState, StepView, leftover, steps, turned};
pub use reconcile::{Loop, Pass, Pokes, Reconciler, ReconcilerStatus, Recurs, row_name};
pub use registry::Registry;
pub use runner::{Options, Runner, RunnerHandle};
pub use saga::{Saga, Step, Steps};
pub use schedule::{Schedule, Tick};

pub use reeve_store::job::{Backlog, Depth, Filter};
