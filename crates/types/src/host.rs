//! Hosts: machines that were made by a provider or adopted.

use std::collections::BTreeMap;

use crate::id::{HostId, NodeId, WorkspaceId};
use crate::node::words;
use crate::time::Timestamp;

words! {
    /// How a host stands.
    HostState {
        /// Asked for, not up yet.
        Creating = "creating",
        /// Up.
        Running = "running",
        /// Switched off.
        Stopped = "stopped",
        /// Something of it could not be made or taken away; `problem` says what.
        Error = "error",
        /// On its way out.
        Deleting = "deleting",
    }
}

/// A host as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Row id.
    pub id: HostId,
    /// `srv-` and six lower case letters and digits.
    pub handle: String,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// Unique in the workspace.
    pub hostname: String,
    /// Who made it; `ssh` for an adopted one.
    pub provider: String,
    /// The provider's word for its size.
    pub plan: String,
    /// The provider's word for where it is.
    pub zone: String,
    /// What it started from.
    pub image: String,
    /// How to reach it; None until known.
    pub address: Option<String>,
    /// Port of its SSH server.
    pub ssh_port: u16,
    /// Who may log in with the workspace's key.
    pub ssh_user: String,
    /// The host key as pinned at the first contact, `ssh-ed25519 AAAA…`.
    pub host_key: Option<String>,
    /// Sealed private key of its own; None is the workspace's.
    pub ssh_key_sealed: Option<String>,
    /// How it stands.
    pub state: HostState,
    /// What went wrong with it, for people.
    pub problem: Option<String>,
    /// The provider's id.
    pub cloud_ref: Option<String>,
    /// The label by which the provider finds it.
    pub operation_tag: Option<String>,
    /// Words of people.
    pub tags: Vec<String>,
    /// Labels for selectors.
    pub labels: BTreeMap<String, String>,
    /// Deleted with force only.
    pub delete_lock: bool,
    /// The node it is enrolled as.
    pub node_id: Option<NodeId>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// Which hosts a list shows; everything that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFilter {
    /// Of this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// In this state.
    pub state: Option<HostState>,
    /// Of this provider.
    pub provider: Option<String>,
}
