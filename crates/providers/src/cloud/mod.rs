//! Adapters to vendors of machines: [`reeve_ports::Cloud`] over their public HTTP APIs.
//!
//! Each vendor has a file for what it says on the wire (`shape`) and one for what we ask of it. They share how to send
//! (`wire`) and what to remember (`remember`), and retry nothing: that is the caller's, who has a journal.

pub mod aws;
mod factory;
pub mod hetzner;
mod remember;
mod systems;
pub mod upcloud;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use reeve_types::{Clock, Secret};

pub use aws::{Aws, AwsKeys, AwsSettings};
pub use factory::{Clouds, CloudsSettings};
pub use hetzner::Hetzner;
pub use upcloud::{UpCloud, UpCloudKeys};

/// Where a vendor's API is and how much of it we use.
#[derive(Clone)]
pub struct Endpoint {
    /// Scheme, host, port and perhaps a path, without the API's version: `https://api.upcloud.com`. Plain HTTP is for
    /// loopback only: every call carries the credentials.
    pub base_url: String,
    /// One call, from waiting for its turn to the last byte of the answer.
    pub timeout: Duration,
    /// Calls under way at once; the others wait.
    pub parallel_calls: usize,
    /// Answers longer than this are refused.
    pub answer_bytes: usize,
    /// For rate limits, signatures and how long a catalogue is remembered.
    pub clock: Arc<dyn Clock>,
}

impl Endpoint {
    /// The usual limits: 30 s, 8 calls at once, 16 MiB.
    pub fn new(base_url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            base_url: base_url.into(),
            timeout: Duration::from_secs(30),
            parallel_calls: 8,
            answer_bytes: 16 * 1024 * 1024,
            clock,
        }
    }
}

/// `Bearer` with the token.
fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}
