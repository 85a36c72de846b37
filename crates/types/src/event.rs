//! Events: what happened, in the order in which it was committed.

use crate::id::EventId;
use crate::time::Timestamp;

/// An event to append, inside the transaction of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// A type of the catalogue, as `edge.node.registered`.
    pub kind: &'static str,
    /// What it is about: a node, execution or key id; empty for none.
    pub subject: String,
    /// The `data` of the CloudEvents envelope.
    pub data: serde_json::Value,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the feed; strictly growing in commit order.
    pub seq: i64,
    /// CloudEvents `id`.
    pub id: EventId,
    /// CloudEvents `type`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// CloudEvents `time`.
    pub at: Timestamp,
    /// CloudEvents `data`, JSON text.
    pub data: String,
}
