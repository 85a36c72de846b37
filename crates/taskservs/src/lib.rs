//! Software that Reeve installs on machines: the catalogue, what may be set, in which order things go, and the files and
//! scripts that make it so.
//!
//! Pure: no IO, no clock, no randomness; the catalogue is part of the binary. It makes [`Bundle`]s, others carry them to
//! machines. Values that people give reach a machine as data only: quoted by the format of the file they stand in
//! ([`quote`]), or in a file of quoted shell variables. No script is made from a value.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod bundle;
mod catalogue;
mod definition;
mod expand;
mod facts;
mod graph;
mod layer;
mod lint;
mod machine;
mod parameter;
mod phase;
mod problem;
pub mod quote;
mod redact;
mod render;
mod report;
mod service;
mod settings;
mod template;
mod turn;

pub use bundle::{Bundle, BundleFile};
pub use catalogue::Catalogue;
pub use definition::{
    Category, Definition, Dependency, DependencyKind, Download, Exposure, Port, Rollout, Scope, Servers, Service,
};
pub use facts::{Facts, PROBE};
pub use graph::{Because, Installed, Missing, Resolution, Step, Wanted, World, dependents, resolve};
pub use layer::{LARGEST_FILE, Layer};
pub use machine::Machine;
pub use parameter::{Kind, Parameter};
pub use phase::Phase;
pub use problem::{Problem, Problems, Reason};
pub use redact::Redactor;
pub use render::{Change, RenderInput, render};
pub use report::Report;
pub use settings::{Settings, Source};
