//! Nodes, as people see and change them. What agents tell stands in [`crate::agent`].

use std::collections::{BTreeMap, HashMap};

use reeve_ports::Order;
use reeve_store::{Topic, Tx, alias, cluster, event as feed, execution, node as table, self_update};
use reeve_types::execution::ExecutionStatus;
use reeve_types::node::{Node, NodeFilter, NodeSecrets};
use reeve_types::selector::{is_label_key, is_label_value};
use reeve_types::{Actor, Error, NodeId, Page, Paged, Permission, Result, Secret, Sort};
use serde_json::json;

use crate::seal::Aad;
use crate::server::letters::{self, Errand};
use crate::{App, audit, authz, event};

/// Most labels on a node.
pub const MAX_LABELS: usize = 64;
/// Why the agent of a deleted node is sent away.
const DELETED: &str = "the node was deleted";

/// A node with its secrets, as far as the actor may see them.
#[derive(Clone, Debug)]
pub struct View {
    /// The node.
    pub node: Node,
    /// API token; None when the actor may not see it.
    pub api_token: Option<Secret>,
    /// Proxy password; None when the actor may not see it.
    pub proxy_password: Option<Secret>,
    /// Its further names, in order.
    pub aliases: Vec<String>,
}

pub(crate) fn token_aad(id: &NodeId) -> Aad<'_> {
    Aad { table: "nodes", column: "api_token_sealed", id: id.as_str() }
}

pub(crate) fn password_aad(id: &NodeId) -> Aad<'_> {
    Aad { table: "nodes", column: "proxy_password_sealed", id: id.as_str() }
}

fn view(app: &App, actor: &Actor, node: Node, secrets: &NodeSecrets, aliases: Vec<String>) -> Result<View> {
    if !actor.may(Permission::NodeSecretsRead) {
        return Ok(View { node, api_token: None, proxy_password: None, aliases });
    }
    let api_token = Some(app.seal.open(token_aad(&node.id), &secrets.api_token)?);
    let proxy_password = Some(app.seal.open(password_aad(&node.id), &secrets.proxy_password)?);
    Ok(View { node, api_token, proxy_password, aliases })
}

async fn aliases_of(tx: &mut Tx, id: &NodeId) -> Result<Vec<String>> {
    Ok(alias::of_nodes(tx, std::slice::from_ref(id)).await?.into_iter().map(|(_, name)| name).collect())
}

/// The node with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &NodeId) -> Result<View> {
    authz::require(actor, Permission::NodesRead)?;
    let mut tx = app.store.read().await?;
    let (node, secrets) = table::with_secrets(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    let aliases = aliases_of(&mut tx, id).await?;
    view(app, actor, node, &secrets, aliases)
}

/// A page of nodes.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, filter: &NodeFilter, sorts: &[Sort], page: Page) -> Result<Paged<View>> {
    authz::require(actor, Permission::NodesRead)?;
    let mut tx = app.store.read().await?;
    let found = table::list(&mut tx, filter, sorts, page).await?;
    let ids: Vec<NodeId> = found.items.iter().map(|(node, _)| node.id.clone()).collect();
    let mut aliases: HashMap<NodeId, Vec<String>> = HashMap::new();
    for (node, name) in alias::of_nodes(&mut tx, &ids).await? {
        aliases.entry(node).or_default().push(name);
    }
    let shown = |(node, secrets): (Node, NodeSecrets)| {
        let aliases = aliases.remove(&node.id).unwrap_or_default();
        view(app, actor, node, &secrets, aliases)
    };
    let items = found.items.into_iter().map(shown).collect::<Result<_>>()?;
    Ok(Paged { items, total: found.total, page: found.page })
}

/// Deletes a node: its agent is disconnected and can only come back by enrolling; its open executions are cancelled.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &NodeId) -> Result<()> {
    authz::require(actor, Permission::NodesWrite)?;
    let now = app.now();
    let mut tx = app.begin(actor).await?;
    // Its place in the cluster is given back once, however many delete or move it at this moment.
    let node = table::by_id_for_update(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    let ended = execution::end_open(&mut tx, execution::Scope::Node(id), ExecutionStatus::Cancelled, now).await?;
    let ids: Vec<_> = ended.iter().map(|(execution, _)| execution.clone()).collect();
    let cancelled = execution::by_ids(&mut tx, &ids).await?;
    let mut errands: Vec<_> = ids.iter().map(|execution| (id.clone(), Errand::Forget(execution.clone()))).collect();
    errands.push((id.clone(), Errand::Disconnect(DELETED.to_owned())));
    letters::send_errands(app, &mut tx, &errands).await?;
    cluster::free_place(&mut tx, &node.cluster_id).await?;
    let updates = self_update::fail_of_node(&mut tx, id, "the node was deleted", now).await?;
    table::delete(&mut tx, id).await?;
    audit::record(app, &mut tx, actor, "node.delete", id.as_str(), json!({"cluster": node.cluster_name})).await?;
    let events: Vec<_> = cancelled.iter().map(|e| event::of_execution(event::EXECUTION_CANCELLED, e)).collect();
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    tx.wake(Topic::Servers);
    tx.commit().await?;
    app.agents().deliver(id, ids.into_iter().map(Order::Forget).collect());
    app.agents().disconnect(id, DELETED);
    app.presence.forget(id);
    app.samples.forget(id);
    app.rollouts_changed();
    if updates > 0 {
        app.self_updates_changed();
    }
    Ok(())
}

/// Moves a node to the cluster called `to`. Its aliases were names inside the old cluster: they are gone.
///
/// # Errors
/// NotFound; Invalid for an unknown cluster; Conflict when it is there already or the cluster is full.
pub async fn change_cluster(app: &App, actor: &Actor, id: &NodeId, to: &str) -> Result<View> {
    authz::require(actor, Permission::NodesWrite)?;
    let now = app.now();
    let mut tx = app.begin(actor).await?;
    let (mut node, secrets) = table::with_secrets(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    let target = cluster::by_name(&mut tx, to).await?.ok_or_else(|| Error::invalid("cluster_name", "not found"))?;
    if target.id == node.cluster_id {
        return Err(Error::conflict("node is already in this cluster"));
    }
    if !cluster::take_place(&mut tx, &target.id).await? {
        let limit = target.node_limit.unwrap_or_default();
        return Err(Error::conflict(format!("cluster has reached its node limit of {limit}")));
    }
    if !table::set_cluster(&mut tx, id, &node.cluster_id, &target.id, now).await? {
        return Err(Error::conflict("the node was moved by somebody else; look again"));
    }
    cluster::free_place(&mut tx, &node.cluster_id).await?;
    let before = std::mem::replace(&mut node.cluster_name, target.name);
    node.cluster_id = target.id;
    node.updated_at = now;
    let lost = alias::delete_of_node(&mut tx, id).await?;
    let details = json!({"from": before, "to": node.cluster_name, "aliases_deleted": lost});
    audit::record(app, &mut tx, actor, "node.change_cluster", id.as_str(), details).await?;
    let moved = event::of_node(event::NODE_CLUSTER_CHANGED, &node, &[("previous_cluster_name", before.into())]);
    feed::append(&mut tx, &*app.ids, now, &[moved]).await?;
    tx.wake(Topic::Servers);
    tx.commit().await?;
    view(app, actor, node, &secrets, Vec::new())
}

/// Changes labels: a value sets one, None removes it, others stay.
///
/// # Errors
/// NotFound; Invalid for a key or value that cannot be a label, or too many labels.
pub async fn set_labels(
    app: &App,
    actor: &Actor,
    id: &NodeId,
    changes: BTreeMap<String, Option<String>>,
) -> Result<View> {
    authz::require(actor, Permission::NodesWrite)?;
    check_labels(&changes)?;
    let mut tx = app.begin(actor).await?;
    // What another change sets at this moment is kept.
    table::by_id_for_update(&mut tx, id).await?;
    let (mut node, secrets) = table::with_secrets(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    for (key, value) in &changes {
        match value {
            Some(value) => node.labels.insert(key.clone(), value.clone()),
            None => node.labels.remove(key),
        };
    }
    if node.labels.len() > MAX_LABELS {
        return Err(Error::invalid("labels", format!("a node has at most {MAX_LABELS} labels")));
    }
    node.updated_at = app.now();
    table::set_labels(&mut tx, id, &node.labels, node.updated_at).await?;
    audit::record(app, &mut tx, actor, "node.label", id.as_str(), json!({"labels": changes})).await?;
    let aliases = aliases_of(&mut tx, id).await?;
    tx.commit().await?;
    view(app, actor, node, &secrets, aliases)
}

fn check_labels(changes: &BTreeMap<String, Option<String>>) -> Result<()> {
    for (key, value) in changes {
        if !is_label_key(key) {
            let rule = "label keys are 1 to 63 of A-Z a-z 0-9 . _ - / with a letter or digit at both ends";
            return Err(Error::invalid(&format!("labels/{key}"), rule));
        }
        if value.as_deref().is_some_and(|v| !is_label_value(v)) {
            let rule = "label values are up to 63 of A-Z a-z 0-9 . _ - with a letter or digit at both ends";
            return Err(Error::invalid(&format!("labels/{key}"), rule));
        }
    }
    Ok(())
}
