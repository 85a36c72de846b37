//! Clusters in the file, by name.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::given;
use super::{Found, Present, Spec, Step, step_by_fields};
use crate::api::{Api, EDGE};
use crate::command::segment;
use crate::failure::Outcome;

/// A cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// CIDR; chosen by the server when absent. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_range: Option<String>,
    /// Most nodes; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub node_limit: Option<Option<u32>>,
}

pub async fn read(api: &Api) -> Outcome<Found> {
    let order = vec![("order_by", "name".to_owned()), ("order_directions", "asc".to_owned())];
    let mut found = Found::default();
    for row in api.list(&format!("{EDGE}/clusters"), &order, 0).await?.rows {
        let Some(name) = row.get("name").and_then(Value::as_str) else { continue };
        let mut spec = Spec::new();
        for field in ["ipv4_range", "node_limit"] {
            spec.insert(field.to_owned(), row.get(field).cloned().unwrap_or_default());
        }
        found.objects.insert(name.to_owned(), Present { spec, ..Present::default() });
    }
    Ok(found)
}

pub fn step(wanted: &Spec, present: Option<&Present>) -> Step {
    let Some(present) = present else { return Step::Create };
    if let (Some(wanted), Some(now)) = (wanted.get("ipv4_range"), present.spec.get("ipv4_range"))
        && wanted != now
    {
        let (wanted, now) = (plain(wanted), plain(now));
        return Step::Refuse(format!(
            "its ipv4_range is {now} and cannot become {wanted}: a range is fixed when a cluster is made"
        ));
    }
    step_by_fields(wanted, &present.spec)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub async fn create(api: &Api, name: &str, wanted: &Spec) -> Outcome<()> {
    let mut body = wanted.clone();
    body.insert("name".into(), name.into());
    api.post(&format!("{EDGE}/clusters"), &Value::Object(body)).await.map(drop)
}

pub async fn change(api: &Api, name: &str, wanted: &Spec) -> Outcome<()> {
    let limit = wanted.get("node_limit").cloned().unwrap_or_default();
    api.patch(&format!("{EDGE}/clusters/{}", segment(name)), &json!({ "node_limit": limit })).await.map(drop)
}

pub async fn delete(api: &Api, name: &str) -> Outcome<()> {
    api.delete(&format!("{EDGE}/clusters/{}", segment(name))).await
}
