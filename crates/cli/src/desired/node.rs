//! Nodes in the file, by id: which cluster they belong to and which labels they bear. They appear by enrolling, never by
//! a file, and no file takes them away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fleet::Fleet;
use super::{Found, Present, Spec, Step, step_by_fields};
use crate::api::{Api, EDGE};
use crate::command::segment;
use crate::failure::Outcome;
use crate::names;

/// A node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The cluster it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// All its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

pub async fn read(api: &Api, fleet: &mut Fleet) -> Outcome<Found> {
    let mut found = Found::default();
    for (id, row) in fleet.nodes(api).await? {
        let mut spec = Spec::new();
        spec.insert("cluster".into(), row.get("cluster_name").cloned().unwrap_or_default());
        spec.insert("labels".into(), row.get("labels").cloned().unwrap_or_else(|| json!({})));
        let present = Present { spec, id: id.clone(), comment: Some(names::of_node(row)), ..Present::default() };
        found.objects.insert(id.clone(), present);
    }
    Ok(found)
}

pub fn step(wanted: &Spec, present: Option<&Present>) -> Step {
    match present {
        None => Step::Wait("has not enrolled with this server yet; apply again once it has".to_owned()),
        Some(present) => step_by_fields(wanted, &present.spec),
    }
}

pub async fn change(api: &Api, present: &Present, wanted: &Spec) -> Outcome<()> {
    let path = format!("{EDGE}/nodes/{}", segment(&present.id));
    if let Some(cluster) = wanted.get("cluster")
        && present.spec.get("cluster") != Some(cluster)
    {
        api.patch(&format!("{path}/change_cluster"), &json!({ "cluster_name": cluster })).await?;
    }
    if let Some(labels) = wanted.get("labels")
        && present.spec.get("labels") != Some(labels)
    {
        let none = Map::new();
        let now = present.spec.get("labels").and_then(Value::as_object).unwrap_or(&none);
        let wanted = labels.as_object().unwrap_or(&none);
        let mut changes: Map<String, Value> = wanted
            .iter()
            .filter(|(key, value)| now.get(*key) != Some(value))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        changes.extend(now.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
        api.patch(&format!("{path}/labels"), &json!({ "labels": changes })).await?;
    }
    Ok(())
}
