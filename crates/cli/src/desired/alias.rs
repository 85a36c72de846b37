//! Aliases in the file, as `CLUSTER/NAME`: the node that bears the name in that cluster.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::NodeId;
use super::fleet::Fleet;
use super::{Found, Present, Spec, Step, step_by_fields, waits_for};
use crate::api::{Api, EDGE};
use crate::command::segment;
use crate::failure::{Failure, Outcome};
use crate::names;

/// An alias.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// The node.
    pub node: NodeId,
}

pub async fn read(api: &Api, fleet: &mut Fleet) -> Outcome<Found> {
    let order = vec![("order_by", "name".to_owned()), ("order_directions", "asc".to_owned())];
    let mut found = Found::default();
    let nodes = fleet.nodes(api).await?;
    for row in api.list(&format!("{EDGE}/aliases"), &order, 0).await?.rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let (Some(id), Some(name), Some(cluster), Some(node)) =
            (text("id"), text("name"), text("cluster_name"), text("node_id"))
        else {
            continue;
        };
        let spec = Spec::from_iter([("node".to_owned(), node.into())]);
        let comment = nodes.get(node).map(names::of_node);
        let present = Present { spec, id: id.to_owned(), comment, ..Present::default() };
        found.objects.insert(format!("{cluster}/{name}"), present);
    }
    found.nodes = nodes.keys().cloned().collect();
    Ok(found)
}

pub fn step(wanted: &Spec, present: Option<&Present>, found: &Found) -> Step {
    match present {
        Some(present) => step_by_fields(wanted, &present.spec),
        None => waits_for(text(wanted), found).unwrap_or(Step::Create),
    }
}

fn text(spec: &Spec) -> &str {
    spec.get("node").and_then(Value::as_str).unwrap_or_default()
}

pub async fn create(api: &Api, full: &str, wanted: &Spec) -> Outcome<()> {
    let Some((cluster, name)) = full.split_once('/') else {
        return Err(Failure::local(format!("'{full}' is not CLUSTER/NAME")));
    };
    let node = text(wanted);
    let path = format!("{EDGE}/nodes/{}", segment(node));
    let row = api.get(&path, &Vec::new()).await?;
    let there = row.get("cluster_name").and_then(Value::as_str).unwrap_or_default();
    if there != cluster {
        return Err(Failure::local(format!("node {node} is in cluster {there}, so it has no name in {cluster}")));
    }
    api.post(&format!("{path}/aliases"), &json!({ "name": name })).await.map(drop)
}

/// The name goes to another node.
pub async fn change(api: &Api, full: &str, present: &Present, wanted: &Spec) -> Outcome<()> {
    delete(api, present).await?;
    create(api, full, wanted).await
}

pub async fn delete(api: &Api, present: &Present) -> Outcome<()> {
    api.delete(&format!("{EDGE}/aliases/{}", segment(&present.id))).await
}
