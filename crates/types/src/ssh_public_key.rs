//! Public keys of SSH usernames.

use crate::id::{NodeId, SshPublicKeyId, SshUsernameId};
use crate::node::words;
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

words! {
    /// The algorithms that are taken, by their SSH names.
    SshKeyType {
        /// EdDSA on Curve25519.
        Ed25519 = "ssh-ed25519",
        /// ECDSA on NIST P-256.
        EcdsaP256 = "ecdsa-sha2-nistp256",
        /// ECDSA on NIST P-384.
        EcdsaP384 = "ecdsa-sha2-nistp384",
        /// ECDSA on NIST P-521.
        EcdsaP521 = "ecdsa-sha2-nistp521",
        /// RSA.
        Rsa = "ssh-rsa",
    }
}

/// What a public key says, once it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    /// One line: algorithm, base64 and, unless empty, the comment.
    pub line: String,
    /// The algorithm.
    pub key_type: SshKeyType,
    /// Its strength as `ssh-keygen -l` shows it.
    pub bits: i64,
    /// `SHA256:<base64>`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// What stands behind the key, mostly `user@host`.
    pub comment: String,
}

/// A public key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPublicKey {
    /// Row id.
    pub id: SshPublicKeyId,
    /// Whose it is.
    pub ssh_username_id: SshUsernameId,
    /// A label for people, unique for the username.
    pub key_name: String,
    /// The key.
    pub key: ParsedKey,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Filters of key lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshPublicKeyFilter {
    /// On the label.
    pub key_name: Option<TextMatch>,
    /// On the whole line with its comment.
    pub public_key: Option<TextMatch>,
    /// On the fingerprint.
    pub fingerprint: Option<String>,
    /// On the username's id, any of these.
    pub ssh_username_ids: Vec<SshUsernameId>,
    /// On the username.
    pub username: Option<TextMatch>,
    /// On the node, any of these.
    pub node_ids: Vec<NodeId>,
    /// On the name of the node's cluster.
    pub cluster_name: Option<TextMatch>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}
