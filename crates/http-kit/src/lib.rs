//! HTTP for every surface: contracts, the request pipeline, listeners. It knows no routes and no business.
//!
//! A surface binds operations of its contract to handlers ([`Surface`]); the result is put on a listener of its own and
//! below a prefix of the console's ([`Mounted::router`], [`Listener`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod auth;
pub mod call;
pub mod contract;
pub mod cors;
mod docs;
pub mod envelope;
pub mod idempotency;
pub mod limits;
pub mod listener;
pub mod measure;
pub mod page;
mod patient;
pub mod pipeline;
pub mod probes;
pub mod reply;
pub mod sse;
pub mod surface;
pub mod tls;

pub use auth::{Access, Authenticate};
pub use call::Call;
pub use contract::Contract;
pub use envelope::{Envelope, Fault, Meta};
pub use reply::Reply;
pub use surface::{Kit, Mounted, Route, Surface};
