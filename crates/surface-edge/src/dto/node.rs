//! Nodes.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use std::collections::BTreeMap;

use reeve_domain::node;
use reeve_types::node::{NodeFilter, NodeIdType, NodeStatus};
use reeve_types::selector::Selector;
use reeve_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Since, Until, host_name, name, period, prose, shown, shown_if};

/// PATCH change_cluster.
#[derive(Debug, Deserialize)]
pub struct ChangeCluster {
    /// Where to.
    pub cluster_name: String,
}

/// PATCH labels.
#[derive(Debug, Deserialize)]
pub struct Labels {
    /// Label to value; None removes it.
    pub labels: BTreeMap<String, Option<String>>,
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    cluster_name: Option<String>,
    id_type: Option<String>,
    status: Option<String>,
    version: Option<String>,
    self_update_enabled: Option<bool>,
    last_seen_at__gte: Option<Since>,
    last_seen_at__lte: Option<Until>,
    label_selector: Option<String>,
    connected: Option<bool>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl Query {
    /// The filter.
    ///
    /// # Errors
    /// Invalid for a selector that cannot be read.
    pub fn filter(self) -> Result<NodeFilter> {
        Ok(NodeFilter {
            cluster_name: prose(self.cluster_name),
            id_type: self.id_type.as_deref().and_then(only_id_type),
            status: self.status.as_deref().map(statuses).unwrap_or_default(),
            version: name(self.version),
            self_update_enabled: self.self_update_enabled,
            connected: self.connected,
            last_seen_at: period(self.last_seen_at__gte, self.last_seen_at__lte),
            inserted_at: period(self.inserted_at__gte, self.inserted_at__lte),
            updated_at: period(self.updated_at__gte, self.updated_at__lte),
            labels: selector(self.label_selector.as_deref(), "label_selector")?,
        })
    }
}

/// The label selector in `field`.
///
/// # Errors
/// Invalid when it cannot be read.
pub fn selector(text: Option<&str>, field: &str) -> Result<Option<Selector>> {
    text.map(Selector::parse).transpose().map_err(|problem| Error::invalid(field, problem))
}

/// The one id type of a list; there are only two, so that both together are no filter.
fn only_id_type(list: &str) -> Option<NodeIdType> {
    let mut named: Vec<_> = list.split(',').filter_map(|word| NodeIdType::parse(word.trim())).collect();
    named.dedup();
    if named.len() == 1 { named.pop() } else { None }
}

/// The statuses in a comma separated list.
pub fn statuses(list: &str) -> Vec<NodeStatus> {
    list.split(',').filter_map(|word| NodeStatus::parse(word.trim())).collect()
}

/// The answer. Holds secrets in clear: it has no `Debug`.
#[derive(Serialize)]
pub struct View {
    id: String,
    node_name: String,
    id_type: &'static str,
    status: &'static str,
    version: Option<String>,
    cluster_name: String,
    api_token: String,
    proxy_password: String,
    http_port: u16,
    ssh_port: u16,
    host_metrics_port: u16,
    wireguard_metrics_port: u16,
    http_proxy_port: u16,
    socks5_proxy_port: u16,
    self_update_enabled: bool,
    mdns_hostname: String,
    vpn_hostname: String,
    netmaker_host_id: String,
    last_seen_at: Option<String>,
    inserted_at: String,
    updated_at: String,
    aliases: Vec<String>,
    labels: BTreeMap<String, String>,
    connected: bool,
    facts: Option<Box<RawValue>>,
}

impl View {
    /// The answer for a node. Secrets that the caller may not see are empty.
    pub fn of(row: node::View, dns_suffix: &str) -> Self {
        let clear = |secret: Option<Secret>| secret.map(|s| s.expose().to_owned()).unwrap_or_default();
        let node = row.node;
        let host = node.node_name();
        Self {
            mdns_hostname: format!("{host}.local"),
            vpn_hostname: host_name(&host, &node.cluster_name, dns_suffix),
            node_name: host,
            netmaker_host_id: node.id.0.clone(),
            id: node.id.0,
            id_type: node.id_type.word(),
            status: node.status.word(),
            version: node.version,
            cluster_name: node.cluster_name,
            api_token: clear(row.api_token),
            proxy_password: clear(row.proxy_password),
            http_port: node.ports.http,
            ssh_port: node.ports.ssh,
            host_metrics_port: node.ports.host_metrics,
            wireguard_metrics_port: node.ports.wireguard_metrics,
            http_proxy_port: node.ports.http_proxy,
            socks5_proxy_port: node.ports.socks5_proxy,
            self_update_enabled: node.self_update_enabled,
            last_seen_at: shown_if(node.last_seen_at),
            inserted_at: shown(node.inserted_at),
            updated_at: shown(node.updated_at),
            aliases: row.aliases,
            labels: node.labels,
            connected: node.connected_server.is_some(),
            facts: node.facts.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_words() {
        assert_eq!(only_id_type("random"), Some(NodeIdType::Random));
        assert_eq!(only_id_type("random, random"), Some(NodeIdType::Random));
        assert_eq!(only_id_type("persistent,random"), None);
        assert_eq!(statuses("healthy,unreachable"), [NodeStatus::Healthy, NodeStatus::Unreachable]);
    }

    #[test]
    fn a_selector_that_is_none_names_its_field() {
        let error = selector(Some("env in ("), "label_selector").unwrap_err();
        assert!(error.details.contains_key("label_selector"));
        assert!(selector(None, "label_selector").unwrap().is_none());
    }
}
