//! Clusters: machines side by side with software on them, and the way back. Plain functions from parameters to graphs.

use std::collections::BTreeMap;

use reeve_types::host::Host;
use reeve_types::operation::OperationKind;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::graph::{Graph, Node, OnFailure, PARALLEL};
use super::shape::{fits, parallel, read, size};

/// Machines of one cluster.
const MOST_MACHINES: u32 = 200;
/// Taskservs of one cluster.
const MOST_SOFTWARE: usize = 100;
/// The label that a cluster's machines carry.
const CLUSTER_LABEL: &str = "cluster";

#[derive(Deserialize)]
struct Cluster {
    cluster_name: String,
    node_count: u32,
    #[serde(default = "one")]
    control_plane_count: u32,
    provider: Option<String>,
    plan: Option<String>,
    zone: Option<String>,
    image: Option<String>,
    disk_gb: Option<u32>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    taskservs: Option<Vec<Value>>,
    #[serde(default)]
    parallel_limit: Option<usize>,
    version: Option<String>,
    /// Settings of the software, by its name.
    #[serde(default)]
    config: BTreeMap<String, Map<String, Value>>,
}

fn one() -> u32 {
    1
}

/// Machines side by side, then what runs on them, one thing after the other.
pub(super) fn create(workspace: &Workspace, parameters: &Map<String, Value>) -> Result<Graph> {
    let whole = Value::Object(parameters.clone());
    let cluster: Cluster = read(&whole, "parameters")?;
    let name = cluster.cluster_name.to_ascii_lowercase();
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 50 || !name.chars().all(label) || name.starts_with('-') || name.ends_with('-') {
        let rule = "must be 1 to 50 of a-z, 0-9 and inner hyphens: hostnames are made of it";
        return Err(Error::invalid("parameters/cluster_name", rule));
    }
    if !(1..=MOST_MACHINES).contains(&cluster.node_count) {
        return Err(Error::invalid("parameters/node_count", format!("must be 1 to {MOST_MACHINES}")));
    }
    let heads = cluster.control_plane_count;
    if heads == 0 || heads.is_multiple_of(2) || heads > cluster.node_count.min(7) {
        let rule = "must be odd, at most 7, and not more than node_count";
        return Err(Error::invalid("parameters/control_plane_count", rule));
    }
    // Each machine has a request of its own, and each software names its machines.
    let machines = cluster.node_count as usize;
    let each = size(&(&cluster.provider, &cluster.plan, &cluster.zone, &cluster.image, &cluster.tags));
    fits("parameters", std::iter::repeat_n(each, machines))?;
    let hostname = |n: u32| {
        if n < heads { format!("{name}-cp-{}", n + 1) } else { format!("{name}-node-{}", n - heads + 1) }
    };
    let mut nodes = Vec::new();
    for n in 0..cluster.node_count {
        let role = if n < heads { "control-plane" } else { "worker" };
        let request = json!({
            "workspace": workspace.name, "hostname": hostname(n), "provider": cluster.provider, "plan": cluster.plan,
            "zone": cluster.zone, "image": cluster.image, "disk_gb": cluster.disk_gb, "tags": cluster.tags,
            "labels": {CLUSTER_LABEL: name, "role": role},
        });
        nodes.push(Node::new(format!("server/{}", hostname(n)), OperationKind::ServerCreate, request));
    }
    let all: Vec<String> = (0..cluster.node_count).map(hostname).collect();
    let control: Vec<String> = all.iter().take(heads as usize).cloned().collect();
    let servers: Vec<String> = nodes.iter().map(|node| node.id.clone()).collect();
    let mut before = servers;
    for (name, servers, config) in software(&cluster, &all, &control)? {
        let request = json!({"workspace": workspace.name, "name": name, "servers": servers, "config": config});
        let mut node = Node::new(format!("taskserv/{name}"), OperationKind::TaskservCreate, request);
        node.needs = std::mem::replace(&mut before, vec![node.id.clone()]);
        nodes.push(node);
    }
    Ok(Graph { nodes, parallel: parallel(cluster.parallel_limit)? })
}

/// A name, where it goes, and its settings.
type Software = (String, Vec<String>, Map<String, Value>);

/// What a cluster runs: what was asked for, else Kubernetes with what it stands on; with the settings for it.
fn software(cluster: &Cluster, all: &[String], control: &[String]) -> Result<Vec<Software>> {
    let mut software = match &cluster.taskservs {
        Some(asked) => chosen(asked, all, control)?,
        None => kubernetes(cluster, all, control),
    };
    for (name, settings) in &cluster.config {
        if !software.iter().any(|(known, _, _)| known == name) {
            let known: Vec<&str> = software.iter().map(|(known, _, _)| known.as_str()).collect();
            let problem = format!("is not of this cluster's software, which is {}", known.join(", "));
            return Err(Error::invalid(&format!("parameters/config/{name}"), problem));
        }
        for (_, _, config) in software.iter_mut().filter(|(known, _, _)| known == name) {
            config.extend(settings.clone());
        }
    }
    Ok(software)
}

/// Kubernetes with what it stands on. k3s brings a container runtime, and a network when it is told to.
fn kubernetes(cluster: &Cluster, all: &[String], control: &[String]) -> Vec<Software> {
    let set = |name: &str| cluster.config.get("kubernetes").and_then(|settings| settings.get(name)?.as_str());
    let own = |settings: Value| settings.as_object().cloned().unwrap_or_default();
    let mut software = vec![("os".to_owned(), all.to_vec(), own(json!({"kubernetes": true})))];
    if set("distribution") != Some("k3s") {
        software.push(("runc".to_owned(), all.to_vec(), Map::new()));
        software.push(("containerd".to_owned(), all.to_vec(), Map::new()));
    }
    let mut settings = own(json!({"control_planes": control.len()}));
    if let Some(version) = &cluster.version {
        settings.insert("version".to_owned(), json!(version));
    }
    software.push(("kubernetes".to_owned(), all.to_vec(), settings));
    if set("cni") != Some("flannel") {
        software.push(("cilium".to_owned(), control.iter().take(1).cloned().collect(), Map::new()));
    }
    software
}

fn chosen(asked: &[Value], all: &[String], control: &[String]) -> Result<Vec<Software>> {
    if asked.len() > MOST_SOFTWARE {
        let problem = format!("must be at most {MOST_SOFTWARE}; there are {}", asked.len());
        return Err(Error::invalid("parameters/taskservs", problem));
    }
    let mut software: Vec<Software> = Vec::new();
    for (index, one) in asked.iter().enumerate() {
        let field = format!("parameters/taskservs/{index}");
        let name = one.as_str().or_else(|| one["name"].as_str());
        let name = name.ok_or_else(|| Error::invalid(&field, "must be a name or an object with `name`"))?;
        if software.iter().any(|(known, _, _)| known == name) {
            return Err(Error::invalid(&field, format!("`{name}` stands there twice")));
        }
        let servers = match one.get("servers") {
            None | Some(Value::Null) => all.to_vec(),
            Some(Value::String(word)) if word == "all" => all.to_vec(),
            Some(Value::String(word)) if word == "control_plane" => control.to_vec(),
            Some(Value::String(word)) if word == "first" => control.iter().take(1).cloned().collect(),
            Some(Value::String(word)) if word == "workers" => all.iter().skip(control.len()).cloned().collect(),
            Some(list @ Value::Array(_)) => read::<Vec<String>>(list, &format!("{field}/servers"))?,
            Some(_) => {
                let rule = "must be all, control_plane, workers, first or a list of hostnames";
                return Err(Error::invalid(&format!("{field}/servers"), rule));
            }
        };
        let config = match one.get("config") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(config)) => config.clone(),
            Some(_) => return Err(Error::invalid(&format!("{field}/config"), "must be an object of settings")),
        };
        software.push((name.to_owned(), servers, config));
    }
    Ok(software)
}

pub(super) fn delete(parameters: &Map<String, Value>, hosts: &[Host]) -> Result<Graph> {
    let name = parameters.get("cluster_name").and_then(Value::as_str);
    let name = name.ok_or_else(|| Error::invalid("parameters/cluster_name", "is missing: cluster_delete needs it"))?;
    let name = name.to_ascii_lowercase();
    let force = parameters.get("force").and_then(Value::as_bool).unwrap_or(false);
    let of_cluster = hosts.iter().filter(|host| host.labels.get(CLUSTER_LABEL) == Some(&name));
    let nodes: Vec<Node> = of_cluster
        .map(|host| {
            // The cluster goes as a whole, so what its machines have in common goes with them.
            let request = json!({"server": host.handle, "force": true, "locked_too": force});
            let mut node = Node::new(format!("server/{}", host.hostname), OperationKind::ServerDelete, request);
            node.on_failure = OnFailure::Continue;
            node
        })
        .collect();
    if nodes.is_empty() {
        return Err(Error::invalid("parameters/cluster_name", format!("no server belongs to a cluster `{name}`")));
    }
    Ok(Graph { nodes, parallel: PARALLEL })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parameters: Value) -> Result<Vec<String>> {
        let cluster: Cluster = read(&parameters, "parameters")?;
        let all = ["k-cp-1".to_owned(), "k-node-1".to_owned()];
        let list = software(&cluster, &all, &all[..1])?;
        let shown = |(name, on, config): Software| format!("{name} on {} {}", on.len(), Value::Object(config));
        Ok(list.into_iter().map(shown).collect())
    }

    #[test]
    fn a_cluster_runs_kubernetes_unless_it_is_told_otherwise() {
        let base = |more: Value| {
            let mut whole = json!({"cluster_name": "k", "node_count": 2});
            whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            names(whole)
        };
        assert_eq!(
            base(json!({"version": "1.32.0"})).unwrap(),
            [
                "os on 2 {\"kubernetes\":true}",
                "runc on 2 {}",
                "containerd on 2 {}",
                "kubernetes on 2 {\"control_planes\":1,\"version\":\"1.32.0\"}",
                "cilium on 1 {}",
            ]
        );
        let k3s = base(json!({"config": {"kubernetes": {"distribution": "k3s"}, "cilium": {"hubble": true}}})).unwrap();
        assert_eq!(
            k3s,
            [
                "os on 2 {\"kubernetes\":true}",
                "kubernetes on 2 {\"control_planes\":1,\"distribution\":\"k3s\"}",
                "cilium on 1 {\"hubble\":true}",
            ]
        );
        let flannel = base(json!({"config": {"kubernetes": {"distribution": "k3s", "cni": "flannel"}}})).unwrap();
        assert_eq!(flannel.len(), 2);
        let own =
            base(json!({"taskservs": [{"name": "redis", "config": {"a": 1, "b": 1}}], "config": {"redis": {"b": 2}}}));
        assert_eq!(own.unwrap(), ["redis on 2 {\"a\":1,\"b\":2}"]);
        let foreign = base(json!({"taskservs": ["redis"], "config": {"etcd": {}}})).unwrap_err();
        assert!(foreign.details["parameters/config/etcd"][0].contains("which is redis"), "{foreign}");
        let wrong = base(json!({"taskservs": [{"name": "redis", "config": 1}]})).unwrap_err();
        assert!(wrong.details.contains_key("parameters/taskservs/0/config"), "{wrong}");
    }
}
