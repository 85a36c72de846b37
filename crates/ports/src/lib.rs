//! Traits to the outside world. Each has a real implementation in a provider or a shell, and a fake in `testkit`.
//!
//! Must not do IO and must not know who implements a trait.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod agents;
pub mod backups;
pub mod cloud;
pub mod fetch;
pub mod objects;
pub mod remote;
pub mod seal_keys;

pub use agents::{AgentLink, Answer, Order, Question, Unreached};
pub use backups::{BackupSite, BucketAccess};
pub use cloud::{Cloud, CloudError, CloudErrorKind, CloudFactory};
pub use fetch::Fetch;
pub use objects::{NewObject, ObjectInfo, Objects, OpenObject};
pub use remote::{RemoteError, RemoteErrorKind, RemoteHost, RemoteHosts};
pub use seal_keys::SealKeys;
