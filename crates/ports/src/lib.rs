//! Traits to the outside world. Each has a real implementation in a provider or a shell, and a fake in `testkit`.
//!
//! Must not do IO and must not know who implements a trait.

pub mod agents;
pub mod objects;

pub use agents::{AgentLink, Order};
pub use objects::{NewObject, ObjectInfo, Objects, OpenObject};
