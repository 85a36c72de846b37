//! SSH usernames: who may open an SSH session on a node, by password, by public key, or either.

use crate::id::{NodeId, SshUsernameId};
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// An SSH username as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshUsername {
    /// Row id.
    pub id: SshUsernameId,
    /// The node that lets it in.
    pub node_id: NodeId,
    /// 3 to 32 characters, unique on the node.
    pub username: String,
    /// Whether a password opens the door.
    pub has_password: bool,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Shortest and longest username, in characters.
pub const USERNAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=32;

/// Whether `text` can be an SSH username: 3 to 32 of `a-z 0-9 _ -`, a letter or `_` first.
pub fn is_username(text: &str) -> bool {
    USERNAME_LENGTH.contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
}

/// With what somebody wants to be let in; the word of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A password.
    Password,
    /// A public key whose private half the SSH server has seen used.
    PublicKey,
    /// Neither, or both at once.
    Unknown,
}

impl AuthMethod {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PublicKey => "public_key",
            Self::Unknown => "unknown",
        }
    }
}

/// Filters of username lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshUsernameFilter {
    /// On the name.
    pub username: Option<TextMatch>,
    /// On the node, any of these.
    pub node_ids: Vec<NodeId>,
    /// On the name of the node's cluster.
    pub cluster_name: Option<TextMatch>,
    /// Whether it has a password.
    pub has_password: Option<bool>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in ["ann", "_ann", "deploy-1", &"a".repeat(32)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "an", "Ann", "1ann", "-ann", "ann*", "ann,bob", "ann\n", &"a".repeat(33)] {
            assert!(!is_username(bad), "{bad}");
        }
    }
}
