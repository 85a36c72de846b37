//! Taskservs: pieces of infrastructure software installed on hosts of a workspace.

use crate::id::{HostId, TaskservId, WorkspaceId};
use crate::node::words;
use crate::time::Timestamp;

words! {
    /// How a taskserv stands.
    TaskservState {
        /// Asked for.
        Pending = "pending",
        /// Being installed or changed.
        Installing = "installing",
        /// Installed, its health check passed.
        Running = "running",
        /// Installing, changing or removing it failed.
        Failed = "failed",
        /// Being removed.
        Removing = "removing",
    }
}

/// A taskserv as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taskserv {
    /// Row id.
    pub id: TaskservId,
    /// `tsk-` and six lower case letters and digits.
    pub handle: String,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// A name of the catalogue.
    pub name: String,
    /// The version that is or shall be installed.
    pub version: String,
    /// Its parameters, JSON text, secrets left out.
    pub config: String,
    /// The secret ones among the parameters, sealed JSON.
    pub secrets_sealed: Option<String>,
    /// How it stands.
    pub state: TaskservState,
    /// What the last health check said, JSON text.
    pub health: Option<String>,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A taskserv with its hosts, by hostname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The taskserv.
    pub taskserv: Taskserv,
    /// Its hosts with their names, in order of the names.
    pub hosts: Vec<(HostId, String)>,
}
