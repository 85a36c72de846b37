//! Workspaces: folders below a configured root that hold machines and what is installed on them.

use serde::{Deserialize, Serialize};

use crate::id::WorkspaceId;
use crate::time::Timestamp;

/// What a request that leaves it out means in this workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// Provider, as `upcloud`.
    pub provider: Option<String>,
    /// The provider's word for a size.
    pub plan: Option<String>,
    /// The provider's word for a place.
    pub zone: Option<String>,
    /// What machines start from.
    pub image: Option<String>,
}

/// A workspace as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Row id.
    pub id: WorkspaceId,
    /// Unique name.
    pub name: String,
    /// Absolute path of its folder, unique.
    pub path: String,
    /// Whether it is the active one; at most one is.
    pub active: bool,
    /// Last activation.
    pub last_used_at: Option<Timestamp>,
    /// What requests may leave out.
    pub defaults: Defaults,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What a provider knows a workspace by, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCredential {
    /// Row id.
    pub id: String,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// For which provider.
    pub provider: String,
    /// Sealed JSON object of its fields.
    pub sealed: String,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// The key pair with which a workspace's hosts are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceKey {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// One line as in `authorized_keys`.
    pub public_key: String,
    /// Sealed OpenSSH private key.
    pub private_key_sealed: String,
    /// Creation.
    pub inserted_at: Timestamp,
}
