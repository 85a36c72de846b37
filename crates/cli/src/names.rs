//! What people call things: nodes by host name, alias or the start of their id, commands and executions by `last` or a
//! part of their id.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use crate::api::{Api, EDGE, Query};
use crate::failure::{Failure, Outcome};
use crate::out::one_line;

/// How many nodes, or other things of one kind, are looked at when a name is given instead of an id.
const NODES_SEARCHED: usize = 20_000;
const RECENT: usize = 100;
/// The shortest part of an id that names one.
const SHORTEST_PART: usize = 4;
const LAST: &str = "last";

/// The name by which people know a node: alias, `name` label, host name, or the start of its id.
pub fn of_node(node: &Value) -> String {
    // Host names and labels are what the machine says: no line ends in a name before the output of others.
    let name = node_names(node).into_iter().next().map(|name| one_line(&name));
    name.unwrap_or_else(|| short(node.get("id").and_then(Value::as_str).unwrap_or("-")))
}

/// The start of an id.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

fn node_names(node: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for alias in node.get("aliases").and_then(Value::as_array).into_iter().flatten() {
        let name = alias.as_str().or_else(|| alias.get("name").and_then(Value::as_str));
        names.extend(name.map(str::to_owned));
    }
    for pointer in ["/labels/name", "/facts/hostname", "/labels/hostname"] {
        names.extend(node.pointer(pointer).and_then(Value::as_str).map(str::to_owned));
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The ids of the nodes that `references` name, in order.
pub async fn node_ids(api: &Api, references: &[String]) -> Outcome<Vec<String>> {
    let mut nodes = None;
    let mut ids = Vec::new();
    for reference in references {
        let id = match as_id(reference) {
            Some(id) => id,
            None => {
                if nodes.is_none() {
                    nodes = Some(api.list(&format!("{EDGE}/nodes"), &Query::new(), NODES_SEARCHED).await?.rows);
                }
                find_node(nodes.as_deref().unwrap_or_default(), reference)?
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The id of the node that `reference` names.
pub async fn node_id(api: &Api, reference: &str) -> Outcome<String> {
    let ids = node_ids(api, &[reference.to_owned()]).await?;
    ids.into_iter().next().ok_or_else(|| Failure::local(format!("no node is called '{reference}'")))
}

fn find_node(nodes: &[Value], reference: &str) -> Outcome<String> {
    let id_of = |node: &Value| node.get("id").and_then(Value::as_str).map(str::to_owned);
    let named: Vec<String> =
        nodes.iter().filter(|node| node_names(node).iter().any(|name| name == reference)).filter_map(id_of).collect();
    let found = if named.is_empty() && reference.len() >= SHORTEST_PART {
        nodes.iter().filter_map(id_of).filter(|id| id.starts_with(&reference.to_lowercase())).collect()
    } else {
        named
    };
    only("node", reference, found)
}

/// The id of the one in a list that `reference` names: its id, the start of it, or what stands at `name_key`.
pub async fn listed_id(api: &Api, noun: &str, path: &str, name_key: &str, reference: &str) -> Outcome<String> {
    if let Some(id) = as_id(reference) {
        return Ok(id);
    }
    let rows = api.list(path, &Query::new(), NODES_SEARCHED).await?.rows;
    let word = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ids = |wanted: &dyn Fn(&Value) -> bool| -> Vec<String> {
        rows.iter().filter(|row| wanted(row)).map(|row| word(row, "id")).collect()
    };
    let mut found = ids(&|row| word(row, name_key) == reference || word(row, "id") == reference);
    if found.is_empty() && reference.len() >= SHORTEST_PART {
        found = ids(&|row| word(row, "id").starts_with(&reference.to_lowercase()));
    }
    only(noun, reference, found)
}

/// The id of the command, execution or job that `reference` names: an id, `last`, or a part of a recent id.
pub async fn recent_id(api: &Api, noun: &str, path: &str, reference: &str) -> Outcome<String> {
    if let Some(id) = as_id(reference) {
        return Ok(id);
    }
    let last = reference == LAST;
    // The console's lists have the newest first and no other order.
    let query = match path.starts_with(EDGE) {
        true => vec![("order_by", "inserted_at".to_owned()), ("order_directions", "desc".to_owned())],
        false => Query::new(),
    };
    let listing = api.list(path, &query, if last { 1 } else { RECENT }).await?;
    let ids = listing.rows.iter().filter_map(|row| row.get("id").and_then(Value::as_str)).map(str::to_owned);
    let first = match noun {
        "job" => "`reeve job schedules` shows when the next ones come",
        "self-update" => "ask nodes with `reeve self-update create --all`",
        _ => "start one with `reeve run \"uptime\" --all`",
    };
    among(noun, reference, ids, first)
}

/// The one of `ids`, the newest first, that `reference` names: `last`, or a part of it. `first` says how there comes to be
/// one when there is none.
pub fn among(noun: &str, reference: &str, mut ids: impl Iterator<Item = String>, first: &str) -> Outcome<String> {
    if reference == LAST {
        return ids.next().ok_or_else(|| Failure::local_with(format!("there is no {noun} yet"), first));
    }
    let part = reference.to_lowercase();
    if part.len() < SHORTEST_PART {
        let next = format!("give at least {SHORTEST_PART} characters of its id, or `{LAST}`");
        return Err(Failure::local_with(format!("'{reference}' is too short to name one {noun}"), next));
    }
    only(noun, reference, ids.filter(|id| id.starts_with(&part) || id.ends_with(&part)).collect())
}

/// The id that `reference` is, if it is one.
pub fn as_id(reference: &str) -> Option<String> {
    let bare = reference.strip_prefix("node-").unwrap_or(reference);
    (bare.len() == 36).then(|| bare.parse::<Uuid>().ok()).flatten().map(|id| id.to_string())
}

/// The one that was found.
pub fn only(noun: &str, reference: &str, mut found: Vec<String>) -> Outcome<String> {
    let plural = if noun.ends_with('s') { "es" } else { "s" };
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(id), false) => Err(Failure::local_with(
            format!("'{reference}' names {} {noun}{plural}, among them {id}", found.len() + 1),
            "give the whole id",
        )),
        (None, _) => Err(Failure::local_with(
            format!("no {noun} is called '{reference}'"),
            format!("`reeve {noun} list` shows which there are"),
        )),
    }
}

/// Names for the nodes in a command's output.
#[derive(Debug, Default)]
pub struct NodeNames(HashMap<String, String>);

impl NodeNames {
    /// Names of up to `limit` nodes; without the right to list nodes, none.
    pub async fn fetch(api: &Api, limit: usize) -> Self {
        let listing = api.list(&format!("{EDGE}/nodes"), &Query::new(), limit).await.unwrap_or_default();
        let pairs = listing.rows.iter().filter_map(|node| Some((node.get("id")?.as_str()?.to_owned(), of_node(node))));
        Self(pairs.collect())
    }

    /// A node's name, or the start of its id; a mark for a node that is gone.
    pub fn get(&self, node_id: &str) -> String {
        if node_id.is_empty() {
            return "(deleted)".to_owned();
        }
        self.0.get(node_id).cloned().unwrap_or_else(|| short(node_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_found_by_name_and_by_the_start_of_their_id() {
        let nodes = [
            json!({"id": "01234567-89ab-cdef-0123-456789abcdef", "labels": {}, "facts": {"hostname": "web-1"}, "aliases": [{"name": "front"}]}),
            json!({"id": "01234567-89ab-cdef-0123-456789abcd00", "labels": {"name": "db"}, "facts": null, "aliases": []}),
        ];
        assert_eq!(of_node(&nodes[0]), "front");
        assert_eq!(of_node(&json!({"id": "abcdef01-2345"})), "abcdef01");
        assert_eq!(find_node(&nodes, "web-1").unwrap(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(find_node(&nodes, "db").unwrap(), "01234567-89ab-cdef-0123-456789abcd00");
        assert!(find_node(&nodes, "01234567").unwrap_err().to_string().contains("names 2 nodes"));
        assert!(find_node(&nodes, "nope").unwrap_err().next_step().unwrap().contains("reeve node list"));
        assert_eq!(as_id("node-01234567-89AB-cdef-0123-456789abcdef").unwrap(), "01234567-89ab-cdef-0123-456789abcdef");
    }
}
