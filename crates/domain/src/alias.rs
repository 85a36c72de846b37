//! Aliases of nodes: given by people, or asked for by a node's own agent.

use reeve_store::{alias as table, dialect, node};
use reeve_types::alias::{Alias, AliasFilter};
use reeve_types::{Actor, AliasId, Error, NodeId, Page, Paged, Permission, Result, Sort};
use serde_json::json;

use crate::{App, audit, authz};

/// Most aliases of a node: every answer about the node shows them all.
pub const MAX_ALIASES: usize = 64;

/// What came of an alias that an agent asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The name.
    pub name: String,
    /// Why the node does not have it; None when it does.
    pub problem: Option<String>,
}

/// Gives a node an alias.
///
/// # Errors
/// NotFound for the node; Invalid for a name that cannot be one; Conflict when a node of the same cluster has it, or the
/// node has too many.
pub async fn create(app: &App, actor: &Actor, node_id: &NodeId, name: &str) -> Result<Alias> {
    authz::require(actor, Permission::AliasesWrite)?;
    insert(app, actor, node_id, name, "request").await
}

/// Gives a node the aliases that its agent asks for. Those it has already are fine; one that cannot be had does not keep
/// the others back.
pub async fn register_own(app: &App, node_id: &NodeId, names: Vec<String>) -> Vec<Registration> {
    let mut outcomes = Vec::new();
    for name in names.into_iter().take(MAX_ALIASES) {
        let problem = match register_one(app, node_id, &name).await {
            Ok(()) => None,
            Err(error) => {
                tracing::info!(node.id = %node_id, alias = name, %error, "a node does not get the alias it asked for");
                let rule = error.details.get("name").and_then(|problems| problems.first());
                Some(rule.cloned().unwrap_or(error.message))
            }
        };
        outcomes.push(Registration { name, problem });
    }
    outcomes
}

async fn register_one(app: &App, node_id: &NodeId, name: &str) -> Result<()> {
    check(name)?;
    let held = table::of_nodes(&mut app.store.read().await?, std::slice::from_ref(node_id)).await?;
    if held.iter().any(|(_, known)| known == name) {
        return Ok(());
    }
    insert(app, &Actor::system(), node_id, name, "agent").await.map(drop)
}

async fn insert(app: &App, actor: &Actor, node_id: &NodeId, name: &str, by: &str) -> Result<Alias> {
    check(name)?;
    let mut tx = app.begin(actor).await?;
    let node = node::by_id_for_update(&mut tx, node_id).await?.ok_or_else(|| Error::not_found("node"))?;
    if table::of_nodes(&mut tx, std::slice::from_ref(node_id)).await?.len() >= MAX_ALIASES {
        return Err(Error::conflict(format!("a node has at most {MAX_ALIASES} aliases - delete one first")));
    }
    let now = app.now();
    let alias = Alias {
        id: AliasId(app.ids.next()),
        node_id: node.id,
        cluster_id: node.cluster_id,
        cluster_name: node.cluster_name,
        name: name.to_owned(),
        inserted_at: now,
        updated_at: now,
    };
    table::insert(&mut tx, &alias).await.map_err(|error| {
        let taken = dialect::is_unique_violation(&error, "aliases_cluster_id_name");
        if taken { Error::conflict("name has already been taken") } else { error }
    })?;
    let details = json!({"node": alias.node_id, "name": alias.name, "cluster": alias.cluster_name, "by": by});
    audit::record(app, &mut tx, actor, "alias.create", alias.id.as_str(), details).await?;
    tx.commit().await?;
    Ok(alias)
}

/// What a name must be: a DNS label that is not the name of another host already.
fn check(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label =
        (1..=63).contains(&name.len()) && name.chars().all(inner) && name.starts_with(ends) && name.ends_with(ends);
    if !is_label {
        let rule = "must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends";
        return Err(Error::invalid("name", rule));
    }
    // The host `node-<id>` is the node of that id.
    if reeve_types::id::is_uuid(name) {
        return Err(Error::invalid("name", "must not look like a node's id"));
    }
    Ok(())
}

/// The alias with this id.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &AliasId) -> Result<Alias> {
    authz::require(actor, Permission::AliasesRead)?;
    let mut tx = app.store.read().await?;
    table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("alias"))
}

/// A page of aliases.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, filter: &AliasFilter, sorts: &[Sort], page: Page) -> Result<Paged<Alias>> {
    authz::require(actor, Permission::AliasesRead)?;
    table::list(&mut app.store.read().await?, filter, sorts, page).await
}

/// Takes an alias away.
///
/// # Errors
/// NotFound.
pub async fn delete(app: &App, actor: &Actor, id: &AliasId) -> Result<()> {
    authz::require(actor, Permission::AliasesWrite)?;
    let mut tx = app.begin(actor).await?;
    let alias = table::by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("alias"))?;
    if !table::delete(&mut tx, id).await? {
        return Err(Error::not_found("alias"));
    }
    let details = json!({"node": alias.node_id, "name": alias.name, "cluster": alias.cluster_name});
    audit::record(app, &mut tx, actor, "alias.delete", id.as_str(), details).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "0", "web-server", "a--b", &"a".repeat(63)] {
            assert!(check(good).is_ok(), "{good}");
        }
        let uuid = "01900000-0000-7000-8000-00000000dead";
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", uuid, &"a".repeat(64)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
