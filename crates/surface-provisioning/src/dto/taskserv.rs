//! Taskservs.

use reeve_types::taskserv::{Placed, TaskservState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::shown;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// Of this workspace.
    pub workspace: Option<String>,
}

/// DELETE /v1/taskservs/{id}
#[derive(Debug, Deserialize)]
pub struct DeleteTaskserv {
    /// The workspace it is expected in.
    pub workspace: Option<String>,
    /// The path's id once more.
    pub taskserv_id: Option<String>,
    /// Past what others need.
    pub force: bool,
    /// Its data go too.
    pub remove_data: bool,
    /// Nothing is removed.
    pub check_mode: bool,
}

/// The query of the catalogue.
#[derive(Debug, Deserialize)]
pub struct CatalogueQuery {
    /// As this workspace has it.
    pub workspace: Option<String>,
}

/// POST /v1/taskservs/{id}/upgrade
#[derive(Debug, Deserialize)]
pub struct UpgradeTaskserv {
    /// What changes.
    pub config: Value,
    /// Nothing is changed.
    pub check_mode: bool,
    /// Nothing is taken back when it fails.
    pub preserve_on_failure: bool,
}

/// A taskserv: six keys.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    version: String,
    servers: Vec<String>,
    status: TaskservState,
    created_at: String,
}

impl From<Placed> for View {
    fn from(placed: Placed) -> Self {
        let taskserv = placed.taskserv;
        Self {
            id: taskserv.handle,
            name: taskserv.name,
            version: taskserv.version,
            servers: placed.hosts.into_iter().map(|(_, hostname)| hostname).collect(),
            status: taskserv.state,
            created_at: shown(taskserv.inserted_at),
        }
    }
}

/// A taskserv with everything known about it, secrets left out.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    taskserv: View,
    updated_at: String,
    config: Box<RawValue>,
    health: Box<RawValue>,
    layer: &'static str,
}

impl From<(Placed, bool)> for Detail {
    fn from((placed, layered): (Placed, bool)) -> Self {
        // Somebody who writes into the database can leave anything there; the answer must still be readable.
        let raw = |text: Option<&str>| {
            let text = text.unwrap_or("null").to_owned();
            RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
        };
        Self {
            updated_at: shown(placed.taskserv.updated_at),
            config: raw(Some(&placed.taskserv.config)),
            health: raw(placed.taskserv.health.as_deref()),
            layer: if layered { "workspace" } else { "core" },
            taskserv: View::from(placed),
        }
    }
}
