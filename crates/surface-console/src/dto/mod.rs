//! What goes over the wire, a module per noun.

pub mod audit;
pub mod auth;
pub mod backup;
pub mod job;
pub mod server;
pub mod token;
pub mod user;

use reeve_types::Timestamp;

/// An instant as shown.
fn shown(at: Timestamp) -> String {
    at.rfc3339_secs()
}

/// An instant as shown, or null.
fn shown_if(at: Option<Timestamp>) -> Option<String> {
    at.map(shown)
}
