//! Keys with which a node enrolls into a cluster.

use crate::id::{ClusterId, EnrollmentKeyId};
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// An enrollment key. The key itself is sealed; its hash is what a node's key is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentKey {
    /// Row id.
    pub id: EnrollmentKeyId,
    /// The cluster it leads into.
    pub cluster_id: ClusterId,
    /// That cluster's name.
    pub cluster_name: String,
    /// The sealed blob.
    pub sealed_key: String,
    /// A label for people.
    pub name: Option<String>,
    /// Uses left; None is unlimited.
    pub uses_remaining: Option<i64>,
    /// Refused from this instant on; None is never.
    pub expired_at: Option<Timestamp>,
    /// The last successful use.
    pub last_used_at: Option<Timestamp>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Why a key was refused, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// No such key.
    InvalidKey,
    /// Past its expiry.
    KeyExpired,
    /// No use left.
    KeySpent,
    /// The cluster is full.
    NodeLimitReached,
}

impl KeyRefusal {
    /// The word that the enrolling agent and the event get.
    pub fn word(self) -> &'static str {
        match self {
            KeyRefusal::InvalidKey => "invalid_key",
            KeyRefusal::KeyExpired => "key_expired",
            KeyRefusal::KeySpent => "key_spent",
            KeyRefusal::NodeLimitReached => "node_limit_reached",
        }
    }
}

/// Filters of enrollment key lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnrollmentKeyFilter {
    /// On the name of the key's cluster.
    pub cluster_name: Option<TextMatch>,
    /// The hash of an exact key.
    pub key_hash: Option<String>,
    /// On the label.
    pub name: Option<TextMatch>,
    /// On the uses left.
    pub uses_remaining: Range<i64>,
    /// No limit of uses.
    pub is_unlimited: Option<bool>,
    /// No use left.
    pub is_spent: Option<bool>,
    /// Past its expiry at `now`.
    pub is_expired: Option<bool>,
    /// Never used.
    pub is_never_used: Option<bool>,
    /// Has an expiry.
    pub has_expiry: Option<bool>,
    /// Has a label.
    pub has_name: Option<bool>,
    /// On the expiry.
    pub expired_at: Range<Timestamp>,
    /// On the last use.
    pub last_used_at: Range<Timestamp>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
