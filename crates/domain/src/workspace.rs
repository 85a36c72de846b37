//! Workspaces: made, activated, given defaults, deleted. Their folders are in [`folder`], what they know providers by in
//! [`crate::credential`].

use std::path::PathBuf;

use reeve_store::{dialect, host as hosts, workspace as table};
use reeve_types::event::NewEvent;
use reeve_types::workspace::{Defaults, Workspace};
use reeve_types::{Actor, Error, Patch, Permission, Result, WorkspaceId};
use serde_json::json;

use crate::{App, audit, authz, event};

pub mod folder;
pub mod key;

/// Held while a folder is made with its row, or taken away with it: of two who make the same one, the one who is refused
/// must not take back what the other has got.
static FOLDERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// More workspaces are refused.
pub const MOST: i64 = 1_000;

/// What a workspace is made of.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// 1 to 63 letters, digits, `.`, `_` and `-`, with a letter or digit at both ends.
    pub name: String,
    /// Absolute and below the root; None is a folder of that name in the root.
    pub path: Option<String>,
    /// Whether it becomes the active one.
    pub activate: bool,
    /// What requests may leave out.
    pub defaults: Defaults,
}

/// Changes to a workspace's defaults.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Provider.
    pub provider: Patch<String>,
    /// Size.
    pub plan: Patch<String>,
    /// Place.
    pub zone: Patch<String>,
    /// System.
    pub image: Patch<String>,
}

/// What a deletion left where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Machines that are not known any more but may be running.
    pub hosts_left: Vec<String>,
    /// Whether the folder with its files stays.
    pub files_kept: bool,
}

/// All workspaces, the oldest first.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<Workspace>> {
    authz::require(actor, Permission::WorkspacesRead)?;
    table::list(&mut app.store.read().await?, MOST).await
}

/// One workspace.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, name: &str) -> Result<Workspace> {
    authz::require(actor, Permission::WorkspacesRead)?;
    table::by_name(&mut app.store.read().await?, name).await?.ok_or_else(|| Error::not_found("workspace"))
}

/// Makes a workspace with its folder; a folder that is one already is taken over.
///
/// # Errors
/// Invalid for a name or a path that breaks a rule; Conflict for a name or a folder that is taken.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<Workspace> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    check_name(&input.name)?;
    let root = app.config.provisioning.workspaces_root.clone();
    let path = match &input.path {
        Some(path) => PathBuf::from(path),
        None => folder::root(&root).await?.join(&input.name),
    };
    let path = folder::check(&root, &path).await?;
    let shown = path.to_str().map(str::to_owned).ok_or_else(|| Error::invalid("path", "must be UTF-8"))?;
    let _alone = FOLDERS.lock().await;
    {
        let mut tx = app.store.read().await?;
        if table::by_name(&mut tx, &input.name).await?.is_some() {
            return Err(taken(&input.name));
        }
        let others = table::list(&mut tx, MOST).await?;
        if others.len() as i64 >= MOST {
            return Err(Error::conflict(format!("there are {MOST} workspaces already: delete one first")));
        }
        if let Some(other) = others.iter().find(|other| folder::overlap(&other.path, &shown)) {
            return Err(Error::conflict(format!(
                "the folder {shown} overlaps that of workspace {}: {}",
                other.name, other.path
            )));
        }
    }
    let fresh = folder::make(&path, &input.name).await?;
    let now = app.now();
    let row = Workspace {
        id: WorkspaceId(app.ids.next()),
        name: input.name,
        path: shown,
        active: input.activate,
        last_used_at: input.activate.then_some(now),
        defaults: input.defaults,
        inserted_at: now,
        updated_at: now,
    };
    let stored = store(app, actor, &row).await;
    if stored.is_err() && fresh {
        folder::take_back(&path).await;
    }
    stored.map(|()| row)
}

async fn store(app: &App, actor: &Actor, row: &Workspace) -> Result<()> {
    let mut tx = app.begin(actor).await?;
    if row.active {
        table::deactivate_all(&mut tx, row.inserted_at).await?;
    }
    table::insert(&mut tx, row).await.map_err(|error| {
        if dialect::is_unique_violation(&error, "workspaces_name") {
            return taken(&row.name).with_source(error);
        }
        if dialect::is_unique_violation(&error, "workspaces_path") {
            return Error::conflict(format!("another workspace has the folder {}", row.path)).with_source(error);
        }
        error
    })?;
    let details = json!({"path": row.path, "active": row.active});
    audit::record(app, &mut tx, actor, "workspace.create", &row.name, details).await?;
    tell(app, &mut tx, event::WORKSPACE_CREATED, row).await?;
    tx.commit().await
}

/// Makes a workspace the active one.
///
/// # Errors
/// NotFound; Conflict when its folder is no workspace any more.
pub async fn activate(app: &App, actor: &Actor, name: &str) -> Result<Workspace> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    let known = get_row(app, name).await?;
    folder::check_content(&PathBuf::from(&known.path)).await?;
    let now = app.now();
    let mut tx = app.begin(actor).await?;
    table::deactivate_all(&mut tx, now).await?;
    let row = table::lock(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    table::activate(&mut tx, &row.id, now).await?;
    audit::record(app, &mut tx, actor, "workspace.activate", name, json!({})).await?;
    let row = Workspace { active: true, last_used_at: Some(now), updated_at: now, ..row };
    tell(app, &mut tx, event::WORKSPACE_ACTIVATED, &row).await?;
    tx.commit().await?;
    Ok(row)
}

/// Changes what requests may leave out.
///
/// # Errors
/// NotFound.
pub async fn update(app: &App, actor: &Actor, name: &str, input: Update) -> Result<Workspace> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    let mut tx = app.begin(actor).await?;
    let mut row = table::lock(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    row.defaults.provider = input.provider.apply(row.defaults.provider);
    row.defaults.plan = input.plan.apply(row.defaults.plan);
    row.defaults.zone = input.zone.apply(row.defaults.zone);
    row.defaults.image = input.image.apply(row.defaults.image);
    row.updated_at = app.now();
    table::set_defaults(&mut tx, &row).await?;
    audit::record(app, &mut tx, actor, "workspace.update", name, json!({"defaults": row.defaults})).await?;
    tx.commit().await?;
    Ok(row)
}

/// Deletes a workspace: an empty one, or with `force` one whose hosts and taskservs are then not known any more. The
/// machines themselves are left alone.
///
/// # Errors
/// NotFound; Conflict when it is not empty, or an operation is under way in it.
pub async fn delete(app: &App, actor: &Actor, name: &str, force: bool) -> Result<Deleted> {
    authz::require(actor, Permission::WorkspacesCreate)?;
    let _alone = FOLDERS.lock().await;
    let mut tx = app.begin(actor).await?;
    let row = table::lock(&mut tx, name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let busy = reeve_store::operation::open_in(&mut tx, &row.id).await?;
    if busy > 0 {
        return Err(Error::conflict(format!(
            "{busy} operations are under way in workspace {name}: wait or cancel them"
        )));
    }
    let (host_count, taskserv_count) = table::contents(&mut tx, &row.id).await?;
    if !force && (host_count > 0 || taskserv_count > 0) {
        return Err(Error::conflict(format!(
            "workspace {name} holds {host_count} servers and {taskserv_count} taskservs: delete them first, or force it \
             and they are forgotten while the machines run on"
        )));
    }
    let hosts_left = hosts::delete_in(&mut tx, &row.id).await?;
    table::delete(&mut tx, &row.id).await?;
    let details = json!({"force": force, "hosts_left": hosts_left});
    audit::record(app, &mut tx, actor, "workspace.delete", name, details).await?;
    tell(app, &mut tx, event::WORKSPACE_DELETED, &row).await?;
    tx.commit().await?;
    let files_kept = !folder::remove(&app.config.provisioning.workspaces_root, &PathBuf::from(&row.path), force).await;
    Ok(Deleted { hosts_left, files_kept })
}

async fn get_row(app: &App, name: &str) -> Result<Workspace> {
    table::by_name(&mut app.store.read().await?, name).await?.ok_or_else(|| Error::not_found("workspace"))
}

/// The workspace that a request names: unknown is a mistake of the request.
pub(crate) async fn named(tx: &mut reeve_store::Tx, name: &str) -> Result<Workspace> {
    table::by_name(tx, name).await?.ok_or_else(|| {
        Error::invalid(
            "workspace",
            format!("there is no workspace `{name}`; see GET /v1/workspaces for those there are"),
        )
    })
}

async fn tell(app: &App, tx: &mut reeve_store::Tx, kind: &'static str, row: &Workspace) -> Result<()> {
    let data = json!({"workspace": row.name, "path": row.path, "active": row.active});
    let event = NewEvent { kind, subject: row.id.0.clone(), data };
    reeve_store::event::append(tx, &*app.ids, app.now(), &[event]).await
}

fn taken(name: &str) -> Error {
    Error::conflict(format!("there is a workspace `{name}` already"))
}

/// A name is also a folder's, a label's and part of a URL.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(inner)
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.ends_with(|c: char| c.is_ascii_alphanumeric())
    {
        let rule = "must be 1 to 63 letters, digits, `.`, `_` and `-`, with a letter or digit at both ends";
        return Err(Error::invalid("name", rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "production", "team-1.staging_x", "9"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a-", "_a", "a/b", "a b", "ä", "a\\b", &"a".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
