//! Hosts: listed, made, switched, deleted. What is done to them outside is in the sagas below.

use reeve_store::{host as table, workspace as workspaces};
use reeve_types::host::{Host, HostFilter};
use reeve_types::{Actor, Error, Permission, Result};

use crate::{App, authz};

pub mod access;
mod boot;
pub mod check;
pub mod contact;
pub mod create;
pub mod create_saga;
pub mod delete;
pub mod delete_saga;
pub mod enroll;
mod outside;
pub mod power;
pub mod spec;

pub use contact::{contact, facts};
pub use create::{Create, create};
pub use delete::{Delete, delete};
pub use power::{Power, power};

/// A list holds no more.
pub const MOST: i64 = 100_000;

/// Hosts of all workspaces or of one, the oldest first.
///
/// # Errors
/// As the store. An unknown workspace has no hosts.
pub async fn list(app: &App, actor: &Actor, mut filter: HostFilter, workspace: Option<&str>) -> Result<Vec<Host>> {
    authz::require(actor, Permission::HostsRead)?;
    let mut tx = app.store.read().await?;
    if let Some(name) = workspace {
        let Some(found) = workspaces::by_name(&mut tx, name).await? else { return Ok(Vec::new()) };
        filter.workspace_id = Some(found.id);
    }
    table::list(&mut tx, &filter, MOST).await
}

/// One host by its handle.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, handle: &str) -> Result<Host> {
    authz::require(actor, Permission::HostsRead)?;
    table::by_handle(&mut app.store.read().await?, handle).await?.ok_or_else(|| Error::not_found("server"))
}

/// `prefix` and six lower case letters and digits.
pub(crate) fn handle(app: &App, prefix: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 6];
    app.ids.fill(&mut bytes);
    let word: String = bytes.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect();
    format!("{prefix}-{word}")
}
