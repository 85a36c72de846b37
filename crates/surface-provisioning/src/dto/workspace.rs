//! Workspaces.

use reeve_domain::workspace::{Create, Deleted, Update};
use reeve_types::Patch;
use reeve_types::workspace::{Defaults, Workspace};
use serde::{Deserialize, Serialize};

use super::{shown, shown_if};

/// POST /v1/workspaces/create
#[derive(Debug, Deserialize)]
pub struct CreateWorkspace {
    name: String,
    path: Option<String>,
    activate: bool,
    #[serde(default)]
    defaults: Option<Defaults>,
}

impl From<CreateWorkspace> for Create {
    fn from(body: CreateWorkspace) -> Self {
        Self { name: body.name, path: body.path, activate: body.activate, defaults: body.defaults.unwrap_or_default() }
    }
}

/// PATCH /v1/workspaces/{name}
#[derive(Debug, Deserialize)]
pub struct UpdateWorkspace {
    defaults: NewDefaults,
}

#[derive(Debug, Deserialize)]
struct NewDefaults {
    #[serde(default)]
    provider: Patch<String>,
    #[serde(default)]
    plan: Patch<String>,
    #[serde(default)]
    zone: Patch<String>,
    #[serde(default)]
    image: Patch<String>,
}

impl From<UpdateWorkspace> for Update {
    fn from(body: UpdateWorkspace) -> Self {
        let NewDefaults { provider, plan, zone, image } = body.defaults;
        Self { provider, plan, zone, image }
    }
}

/// DELETE /v1/workspaces/{name}
#[derive(Debug, Deserialize)]
pub struct DeleteWorkspace {
    /// Also one that is not empty.
    pub force: bool,
}

/// A workspace: four keys.
#[derive(Debug, Serialize)]
pub struct View {
    name: String,
    path: String,
    active: bool,
    last_used: Option<String>,
}

impl From<Workspace> for View {
    fn from(w: Workspace) -> Self {
        Self { name: w.name, path: w.path, active: w.active, last_used: shown_if(w.last_used_at) }
    }
}

/// A workspace with everything known about it.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    workspace: View,
    defaults: Defaults,
    created_at: String,
    updated_at: String,
}

impl From<Workspace> for Detail {
    fn from(w: Workspace) -> Self {
        Self {
            defaults: w.defaults.clone(),
            created_at: shown(w.inserted_at),
            updated_at: shown(w.updated_at),
            workspace: View::from(w),
        }
    }
}

/// What a deletion left where it was.
#[derive(Debug, Serialize)]
pub struct DeletedView {
    name: String,
    servers_left: Vec<String>,
    files_kept: bool,
}

impl DeletedView {
    /// Of the workspace `name`.
    pub fn of(name: &str, deleted: Deleted) -> Self {
        Self { name: name.to_owned(), servers_left: deleted.hosts_left, files_kept: deleted.files_kept }
    }
}

/// The public half of a workspace's key pair.
#[derive(Debug, Serialize)]
pub struct PublicKey {
    /// One line as in `authorized_keys`.
    pub public_key: String,
}
