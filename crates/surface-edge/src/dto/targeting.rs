//! Which nodes a command is for.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_types::Result;
use reeve_types::cluster::ClusterFilter;
use reeve_types::command::TargetKind;
use reeve_types::node::{NodeFilter, NodeIdType, NodeStatus};
use serde::Deserialize;

use super::node::selector;
use super::{Since, Until, numbers, period, prose};
use crate::ids;

/// The `targeting` of a new command.
#[derive(Debug, Deserialize)]
pub struct Targeting {
    #[serde(rename = "type")]
    kind: TargetKind,
    #[serde(default)]
    node_ids: Vec<String>,
    #[serde(default)]
    cluster_names: Vec<String>,
    #[serde(default)]
    node_filters: NodeFilters,
    #[serde(default)]
    cluster_filters: ClusterFilters,
    label_selector: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct NodeFilters {
    cluster_name: Option<String>,
    id_type: Option<NodeIdType>,
    status: Option<NodeStatus>,
    version: Option<String>,
    self_update_enabled: Option<bool>,
    last_seen_at__gte: Option<Since>,
    last_seen_at__lte: Option<Until>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

#[derive(Debug, Default, Deserialize)]
struct ClusterFilters {
    name: Option<String>,
    ipv4_range: Option<String>,
    has_node_limit: Option<bool>,
    node_count: Option<i64>,
    node_count__gte: Option<i64>,
    node_count__lte: Option<i64>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<NodeFilters> for NodeFilter {
    fn from(f: NodeFilters) -> Self {
        Self {
            cluster_name: prose(f.cluster_name),
            id_type: f.id_type,
            status: f.status.into_iter().collect(),
            version: prose(f.version),
            self_update_enabled: f.self_update_enabled,
            connected: None,
            last_seen_at: period(f.last_seen_at__gte, f.last_seen_at__lte),
            inserted_at: period(f.inserted_at__gte, f.inserted_at__lte),
            updated_at: period(f.updated_at__gte, f.updated_at__lte),
            labels: None,
        }
    }
}

impl From<ClusterFilters> for ClusterFilter {
    fn from(f: ClusterFilters) -> Self {
        Self {
            name: prose(f.name),
            ipv4_range: prose(f.ipv4_range),
            has_node_limit: f.has_node_limit,
            node_limit: Default::default(),
            node_count: numbers(f.node_count, f.node_count__gte, f.node_count__lte),
            inserted_at: period(f.inserted_at__gte, f.inserted_at__lte),
            updated_at: period(f.updated_at__gte, f.updated_at__lte),
        }
    }
}

impl Targeting {
    /// As the domain has it.
    ///
    /// # Errors
    /// Invalid for a selector that cannot be read.
    pub fn into_domain(self) -> Result<reeve_types::command::Targeting> {
        Ok(reeve_types::command::Targeting {
            kind: self.kind,
            node_ids: ids::each_once(&self.node_ids),
            cluster_names: ids::each_once(&self.cluster_names),
            nodes: self.node_filters.into(),
            clusters: self.cluster_filters.into(),
            labels: selector(self.label_selector.as_deref(), "label_selector")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::{Range, TextMatch};
    use serde_json::json;

    #[test]
    fn every_part_arrives() {
        let document = json!({
            "type": "nodes", "node_ids": ["AA", "aa"], "cluster_names": ["x"],
            "node_filters": {"cluster_name": "prod-*", "status": "healthy", "id_type": "random", "last_seen_at__gte": "2026-01-01"},
            "cluster_filters": {"node_count": 3},
            "label_selector": "env=prod,!old",
        });
        let targeting = serde_json::from_value::<Targeting>(document).unwrap().into_domain().unwrap();
        assert_eq!(targeting.node_ids.len(), 1);
        assert_eq!(targeting.nodes.cluster_name, Some(TextMatch::Wildcard("prod-*".into())));
        assert_eq!(targeting.nodes.status, [NodeStatus::Healthy]);
        assert_eq!(targeting.clusters.node_count, Range { gte: Some(3), lte: Some(3) });
        assert_eq!(targeting.labels.unwrap().0.len(), 2);
    }
}
