//! A node's operation: entered once, however often the workflow looks; and the operation that takes it back.

use reeve_store::{Tx, host as hosts, operation as table, taskserv as taskservs, workspace as workspaces};
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, Principal, Result, UserId};
use serde_json::json;

use super::graph::{Graph, Node};
use crate::operation::begin;
use crate::plan::{Content, Item};
use crate::{App, host, taskserv};

/// Before the id of a node, the name of what takes it back.
pub const UNDO: &str = "undo/";

/// Acts for who submitted the workflow: rights were checked then, and rows name who is behind them.
fn actor(workflow: &Operation) -> Actor {
    let principal = match workflow.requested_by.strip_prefix("user:") {
        Some(name) => Principal::User { id: UserId::from(""), name: name.to_owned() },
        None => Principal::System,
    };
    Actor { principal, ..Actor::system() }
}

async fn workspace_of(tx: &mut Tx, workflow: &Operation) -> Result<Workspace> {
    let found = match &workflow.workspace_id {
        Some(id) => workspaces::get(tx, id).await?,
        None => None,
    };
    found.ok_or_else(|| Error::conflict("the workspace is gone"))
}

fn read<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T> {
    T::deserialize(&node.request).map_err(|problem| Error::invalid(&node.id, problem.to_string()))
}

/// Whether the node may begin: no operation of it is open or done, and the workflow goes on.
async fn may_begin(tx: &mut Tx, workflow: &Operation, name: &str) -> Result<bool> {
    let now = table::lock(tx, &workflow.id).await?;
    if now.is_none_or(|now| now.status.is_final() && !name.starts_with(UNDO)) {
        return Ok(false);
    }
    let children = table::children(tx, &workflow.id).await?;
    let busy = |child: &Operation| {
        child.node.as_deref() == Some(name) && (!child.status.is_final() || child.status == OperationStatus::Completed)
    };
    Ok(!children.iter().any(busy))
}

/// Begins a node. False when it has begun already, or the workflow was called off.
///
/// # Errors
/// As its request.
pub async fn begin(app: &App, workflow: &Operation, node: &Node) -> Result<bool> {
    let who = actor(workflow);
    let parent = Some((&workflow.id, node.id.as_str()));
    let workspace = workspace_of(&mut app.store.read().await?, workflow).await?;
    let entered = match node.kind {
        OperationKind::ServerCreate => {
            let prepared = host::create::prepare(app, &workspace, read(node)?, secrets(node)).await?;
            let mut tx = app.store.begin().await?;
            if !may_begin(&mut tx, workflow, &node.id).await? {
                return Ok(false);
            }
            let entered = host::create::enter(app, &mut tx, &who, &workspace, prepared, parent, None).await?;
            (tx, entered)
        }
        OperationKind::ServerDelete => {
            let mut tx = app.store.begin().await?;
            if !may_begin(&mut tx, workflow, &node.id).await? {
                return Ok(false);
            }
            let input: host::Delete = read(node)?;
            let (found, workspace) = host::delete::find(&mut tx, &input).await?;
            if found.delete_lock && node.request["locked_too"] == json!(false) {
                let text = format!("server {} is locked against deletion", found.hostname);
                return Err(Error::conflict(text).with_reason("locked"));
            }
            let entered = host::delete::enter(app, &mut tx, &who, &workspace, &found, &input, parent, None).await?;
            (tx, entered)
        }
        OperationKind::ServerStart | OperationKind::ServerStop | OperationKind::ServerReboot => {
            let mut tx = app.store.begin().await?;
            if !may_begin(&mut tx, workflow, &node.id).await? {
                return Ok(false);
            }
            let handle = node.request["server"].as_str().unwrap_or_default();
            let found = hosts::by_handle(&mut tx, handle).await?;
            if found.is_none_or(|found| found.workspace_id != workspace.id) {
                return Err(Error::not_found("server"));
            }
            let entered = host::power::enter(app, &mut tx, &who, handle, node.kind, parent, None).await?;
            (tx, entered)
        }
        OperationKind::TaskservCreate | OperationKind::TaskservDelete | OperationKind::TaskservUpgrade => {
            let prepared = taskserv::prepare(app, &workspace, node.kind, node.request.clone()).await?;
            let mut tx = app.store.begin().await?;
            if !may_begin(&mut tx, workflow, &node.id).await? {
                return Ok(false);
            }
            let entered = taskserv::enter(app, &mut tx, &who, &workspace, prepared, parent, None).await?;
            (tx, entered)
        }
        kind @ (OperationKind::ClusterCreate | OperationKind::ClusterDelete | OperationKind::Batch) => {
            return Err(Error::invalid(&node.id, format!("{} cannot be part of a workflow", kind.word())));
        }
    };
    let (mut tx, entered) = entered;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(true)
}

fn secrets(node: &Node) -> Option<reeve_types::Secret> {
    let key = node.request.get("private_key")?.as_str()?;
    Some(reeve_types::Secret::new(json!({"private_key": key}).to_string()))
}

/// Begins to take back what a completed node did. None when there is nothing to take back any more; a text when it cannot
/// be.
///
/// # Errors
/// As the request that takes it back.
pub async fn take_back(app: &App, workflow: &Operation, done: &Operation, graph: &Graph) -> Result<Taken> {
    let name = format!("{UNDO}{}", done.node.as_deref().unwrap_or_default());
    let who = actor(workflow);
    let parent = Some((&workflow.id, name.as_str()));
    let mut tx = app.store.begin().await?;
    if !may_begin(&mut tx, workflow, &name).await? {
        return Ok(Taken::Begun);
    }
    let entered = match done.kind {
        OperationKind::ServerCreate => {
            let Some(found) = hosts::by_handle(&mut tx, &done.subject).await? else { return Ok(Taken::Nothing) };
            let input = host::Delete { server: found.handle.clone(), workspace: None, force: true, check_mode: false };
            let (found, workspace) = host::delete::find(&mut tx, &input).await?;
            host::delete::enter(app, &mut tx, &who, &workspace, &found, &input, parent, None).await?
        }
        OperationKind::TaskservCreate => {
            let Some(found) = taskservs::by_handle(&mut tx, &done.subject).await? else { return Ok(Taken::Nothing) };
            // On machines that the same workflow made it goes with them.
            let made = |hostname: &String| {
                let made = |node: &&Node| node.kind == OperationKind::ServerCreate;
                graph.nodes.iter().filter(made).any(|node| node.request["hostname"].as_str() == Some(hostname))
            };
            if found.hosts.iter().all(|(_, hostname)| made(hostname)) {
                return Ok(Taken::Nothing);
            }
            drop(tx);
            let workspace = workspace_of(&mut app.store.read().await?, workflow).await?;
            let request = json!({"workspace": workspace.name, "taskserv": found.taskserv.handle, "force": true});
            let prepared = taskserv::prepare(app, &workspace, OperationKind::TaskservDelete, request).await?;
            tx = app.store.begin().await?;
            if !may_begin(&mut tx, workflow, &name).await? {
                return Ok(Taken::Begun);
            }
            taskserv::enter(app, &mut tx, &who, &workspace, prepared, parent, None).await?
        }
        OperationKind::ServerDelete => {
            return Ok(Taken::Never(format!("server {} was deleted and cannot be brought back", done.subject)));
        }
        kind => return Ok(Taken::Never(format!("{} of {} is not taken back", kind.word(), done.subject))),
    };
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(Taken::Begun)
}

/// How taking back goes.
pub enum Taken {
    /// An operation is at it.
    Begun,
    /// There is nothing.
    Nothing,
    /// It cannot be; why.
    Never(String),
}

/// What a workflow that is tried again keeps of the one before: nodes that were completed and not taken back.
///
/// # Errors
/// As the store.
pub async fn take_over(tx: &mut Tx, before: &Operation, now: &Operation) -> Result<()> {
    let children = table::children(tx, &before.id).await?;
    for child in children.iter().filter(|child| child.status == OperationStatus::Completed) {
        let node = child.node.as_deref().unwrap_or_default();
        let undo = format!("{UNDO}{node}");
        let there = match child.kind {
            OperationKind::ServerCreate => hosts::by_handle(tx, &child.subject).await?.is_some(),
            OperationKind::TaskservCreate => taskservs::by_handle(tx, &child.subject).await?.is_some(),
            _ => true,
        };
        let undone = children.iter().any(|other| other.node.as_deref() == Some(&undo));
        if there && !undone && !node.starts_with(UNDO) {
            table::adopt(tx, &child.id, &now.id).await?;
        }
    }
    Ok(())
}

/// What a node would do.
///
/// # Errors
/// As its request.
pub async fn check(app: &App, workflow: &Operation, node: &Node, graph: &Graph) -> Result<Content> {
    match node.kind {
        OperationKind::ServerCreate => host::check::of_create(app, read(node)?).await,
        OperationKind::ServerDelete => host::check::of_delete(app, read(node)?).await,
        OperationKind::TaskservCreate | OperationKind::TaskservUpgrade | OperationKind::TaskservDelete => {
            let workspace = workspace_of(&mut app.store.read().await?, workflow).await?;
            let coming: Vec<String> = graph
                .nodes
                .iter()
                .filter(|other| other.kind == OperationKind::ServerCreate)
                .filter_map(|other| other.request["hostname"].as_str().map(str::to_owned))
                .collect();
            taskserv::check(app, &workspace, node.kind, node.request.clone(), &coming).await
        }
        kind => {
            let mut content = Content::default();
            let name = node.request["server"].as_str().unwrap_or_default();
            content.items.push(Item::new("switch", "server", &format!("{name} ({})", kind.word())));
            Ok(content)
        }
    }
}
