//! From what a workflow is asked for to its graph: every type a function from parameters to nodes.

use std::collections::{BTreeMap, BTreeSet};

use reeve_types::host::Host;
use reeve_types::operation::OperationKind;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::graph::{Graph, Node, OnFailure, PARALLEL, Retry};

/// Machines of one cluster.
const MOST_MACHINES: u32 = 200;
/// The label that a cluster's machines carry.
pub const CLUSTER_LABEL: &str = "cluster";

/// The types that can be submitted.
pub const TYPES: [OperationKind; 8] = [
    OperationKind::ServerCreate,
    OperationKind::ServerDelete,
    OperationKind::TaskservCreate,
    OperationKind::TaskservDelete,
    OperationKind::TaskservUpgrade,
    OperationKind::ClusterCreate,
    OperationKind::ClusterDelete,
    OperationKind::Batch,
];

/// Reads a type.
///
/// # Errors
/// Invalid, naming those there are.
pub fn kind(word: &str) -> Result<OperationKind> {
    OperationKind::parse(word).filter(|kind| TYPES.contains(kind)).ok_or_else(|| {
        let known: Vec<&str> = TYPES.iter().map(|kind| kind.word()).collect();
        Error::invalid("workflow_type", format!("`{word}` is not one of {}", known.join(", ")))
    })
}

/// The graph of a workflow. `hosts` are those of the workspace.
///
/// # Errors
/// Invalid for parameters that are missing or wrong; names them.
pub fn graph(
    kind: OperationKind,
    workspace: &Workspace,
    parameters: &Map<String, Value>,
    hosts: &[Host],
) -> Result<Graph> {
    let graph = match kind {
        OperationKind::ClusterCreate => cluster_create(workspace, parameters)?,
        OperationKind::ClusterDelete => cluster_delete(parameters, hosts)?,
        OperationKind::Batch => batch(workspace, parameters)?,
        single => {
            let node = Node::new(single.word(), single, request(single, workspace, parameters)?);
            Graph { nodes: vec![node], parallel: 1 }
        }
    };
    graph.check()?;
    Ok(graph)
}

fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T> {
    T::deserialize(value).map_err(|problem| Error::invalid("parameters", problem.to_string()))
}

/// One operation's request, in the domain's words.
fn request(kind: OperationKind, workspace: &Workspace, parameters: &Map<String, Value>) -> Result<Value> {
    let mut request = parameters.clone();
    // Only the workflow itself is a dry run, and it is where it is.
    request.remove("check_mode");
    request.insert("workspace".to_owned(), json!(workspace.name));
    for (theirs, ours) in [("server_id", "server"), ("taskserv_id", "taskserv")] {
        if let Some(value) = request.remove(theirs) {
            request.insert(ours.to_owned(), value);
        }
    }
    // An adopted machine, in the words of a single request.
    if let Some(address) = request.remove("address") {
        let adopt = json!({"address": address, "port": request.remove("ssh_port"), "user": request.remove("ssh_user")});
        request.insert("adopt".to_owned(), adopt);
    }
    if let Some(key) = request.remove("ssh_private_key") {
        request.insert("private_key".to_owned(), key);
    }
    let wanted: &[&str] = match kind {
        OperationKind::ServerCreate => &["hostname"],
        OperationKind::ServerDelete => &["server"],
        OperationKind::TaskservCreate => &["name", "servers"],
        OperationKind::TaskservDelete | OperationKind::TaskservUpgrade => &["taskserv"],
        _ => &[],
    };
    let mut error: Option<Error> = None;
    for name in wanted.iter().filter(|name| !request.contains_key(**name)) {
        let field = format!("parameters/{name}");
        error = Some(match error {
            None => Error::invalid(&field, format!("is missing: {} needs it", kind.word())),
            Some(error) => error.with_detail(&field, format!("is missing: {} needs it", kind.word())),
        });
    }
    error.map_or(Ok(Value::Object(request)), Err)
}

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
}

fn one() -> u32 {
    1
}

/// Machines side by side, then what runs on them, one thing after the other.
fn cluster_create(workspace: &Workspace, parameters: &Map<String, Value>) -> Result<Graph> {
    let whole = Value::Object(parameters.clone());
    let cluster: Cluster = read(&whole)?;
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

type Software = (String, Vec<String>, Value);

/// What a cluster runs: what was asked for, else Kubernetes with what it stands on.
fn software(cluster: &Cluster, all: &[String], control: &[String]) -> Result<Vec<Software>> {
    let Some(asked) = &cluster.taskservs else {
        let mut kubernetes = json!({"control_planes": control.len()});
        if let Some(version) = &cluster.version {
            kubernetes["version"] = json!(version);
        }
        return Ok(vec![
            ("os".to_owned(), all.to_vec(), json!({"kubernetes": true})),
            ("runc".to_owned(), all.to_vec(), json!({})),
            ("containerd".to_owned(), all.to_vec(), json!({})),
            ("kubernetes".to_owned(), all.to_vec(), kubernetes),
            ("cilium".to_owned(), control.iter().take(1).cloned().collect(), json!({})),
        ]);
    };
    let mut software = Vec::new();
    for (index, one) in asked.iter().enumerate() {
        let field = format!("parameters/taskservs/{index}");
        let name = one.as_str().or_else(|| one["name"].as_str());
        let name = name.ok_or_else(|| Error::invalid(&field, "must be a name or an object with `name`"))?;
        let servers = match one.get("servers") {
            None | Some(Value::Null) => all.to_vec(),
            Some(Value::String(word)) if word == "all" => all.to_vec(),
            Some(Value::String(word)) if word == "control_plane" => control.to_vec(),
            Some(Value::String(word)) if word == "first" => control.iter().take(1).cloned().collect(),
            Some(Value::String(word)) if word == "workers" => all.iter().skip(control.len()).cloned().collect(),
            Some(list @ Value::Array(_)) => read(list)?,
            Some(_) => {
                let rule = "must be all, control_plane, workers, first or a list of hostnames";
                return Err(Error::invalid(&format!("{field}/servers"), rule));
            }
        };
        let config = one.get("config").cloned().unwrap_or_else(|| json!({}));
        software.push((name.to_owned(), servers, config));
    }
    Ok(software)
}

fn cluster_delete(parameters: &Map<String, Value>, hosts: &[Host]) -> Result<Graph> {
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

fn parallel(limit: Option<usize>) -> Result<usize> {
    match limit {
        None => Ok(PARALLEL),
        Some(limit @ 1..=100) => Ok(limit),
        Some(_) => Err(Error::invalid("parameters/parallel_limit", "must be 1 to 100")),
    }
}

#[derive(Deserialize)]
struct Batch {
    operations: Vec<Part>,
    #[serde(default)]
    parallel_limit: Option<usize>,
    #[serde(default)]
    retry: Option<RetryPolicy>,
    #[serde(default = "yes")]
    rollback_enabled: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Part {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// One operation for each, on top of `parameters`.
    #[serde(default)]
    items: Vec<Map<String, Value>>,
    #[serde(default, alias = "dependencies")]
    depends_on: Vec<Dependency>,
    #[serde(default)]
    on_failure: Option<OnFailure>,
    #[serde(default)]
    retry: Option<RetryPolicy>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Dependency {
    Hard(String),
    Told {
        id: String,
        #[serde(default)]
        kind: DependencyKind,
    },
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum DependencyKind {
    #[default]
    Hard,
    Soft,
    Optional,
}

#[derive(Clone, Copy, Deserialize)]
struct RetryPolicy {
    #[serde(default = "three", alias = "max_attempts")]
    attempts: u32,
    #[serde(default)]
    backoff: Backoff,
    #[serde(default = "five")]
    first_delay_secs: u32,
    #[serde(default = "most")]
    max_delay_secs: u32,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Backoff {
    #[default]
    Exponential,
    Linear,
    Fixed,
}

fn three() -> u32 {
    3
}
fn five() -> u32 {
    5
}
fn most() -> u32 {
    300
}

impl RetryPolicy {
    fn read(self, field: &str) -> Result<Retry> {
        if !(1..=20).contains(&self.attempts) || self.first_delay_secs > 3600 || self.max_delay_secs > 3600 {
            let rule = "attempts must be 1 to 20, delays at most 3600 seconds";
            return Err(Error::invalid(field, rule));
        }
        let ms = |secs: u32| i64::from(secs) * 1000;
        let doubling = matches!(self.backoff, Backoff::Exponential);
        Ok(Retry {
            attempts: self.attempts,
            first_ms: ms(self.first_delay_secs),
            doubling,
            most_ms: ms(self.max_delay_secs),
        })
    }
}

fn batch(workspace: &Workspace, parameters: &Map<String, Value>) -> Result<Graph> {
    let whole = Value::Object(parameters.clone());
    let batch: Batch = read(&whole)?;
    let retry = batch.retry.map(|policy| policy.read("parameters/retry")).transpose()?.unwrap_or_default();
    let usual = if batch.rollback_enabled { OnFailure::Rollback } else { OnFailure::Fail };
    // A part with items is a group: whoever waits for it waits for all of it.
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for part in &batch.operations {
        if !seen.insert(part.id.as_str()) {
            return Err(Error::invalid("parameters/operations", format!("id `{}` is used twice", part.id)));
        }
        let names = match part.items.len() {
            0 => vec![part.id.clone()],
            items => (1..=items).map(|n| format!("{}-{n}", part.id)).collect(),
        };
        groups.insert(&part.id, names);
    }
    let mut nodes = Vec::new();
    for (index, part) in batch.operations.iter().enumerate() {
        let field = format!("parameters/operations/{index}");
        let kind = operation_kind(&part.kind, &field)?;
        let retry = part.retry.map(|policy| policy.read(&format!("{field}/retry"))).transpose()?.unwrap_or(retry);
        let (mut needs, mut after) = (Vec::new(), Vec::new());
        for dependency in &part.depends_on {
            let (id, kind) = match dependency {
                Dependency::Hard(id) => (id, DependencyKind::Hard),
                Dependency::Told { id, kind } => (id, *kind),
            };
            let group = groups.get(id.as_str());
            if group.is_none() && kind == DependencyKind::Optional {
                continue;
            }
            let group = group
                .ok_or_else(|| Error::invalid(&format!("{field}/depends_on"), format!("`{id}` does not exist")))?;
            if kind == DependencyKind::Hard { needs.extend(group.clone()) } else { after.extend(group.clone()) }
        }
        let nothing = [Map::new()];
        let items: &[Map<String, Value>] = if part.items.is_empty() { &nothing } else { &part.items };
        for (name, item) in groups.get(part.id.as_str()).into_iter().flatten().zip(items) {
            let mut parameters = part.parameters.clone();
            parameters.extend(item.clone());
            let request = request(kind, workspace, &parameters).map_err(|error| at(error, &field))?;
            let mut node = Node::new(name.clone(), kind, request);
            (node.needs, node.after) = (needs.clone(), after.clone());
            (node.on_failure, node.retry) = (part.on_failure.unwrap_or(usual), retry);
            nodes.push(node);
        }
    }
    Ok(Graph { nodes, parallel: parallel(batch.parallel_limit)? })
}

/// The details of an error, below `field`.
fn at(mut error: Error, field: &str) -> Error {
    let details = std::mem::take(&mut error.details);
    error.details = details.into_iter().map(|(name, problems)| (format!("{field}/{name}"), problems)).collect();
    error
}

fn operation_kind(word: &str, field: &str) -> Result<OperationKind> {
    let known = match word {
        "server_batch" => Some(OperationKind::ServerCreate),
        "taskserv_batch" => Some(OperationKind::TaskservCreate),
        word => OperationKind::parse(word),
    };
    let single = |kind: &OperationKind| {
        !matches!(kind, OperationKind::Batch | OperationKind::ClusterCreate | OperationKind::ClusterDelete)
    };
    known.filter(single).ok_or_else(|| {
        let known: Vec<&str> = OperationKind::ALL.iter().filter(|kind| single(kind)).map(|kind| kind.word()).collect();
        Error::invalid(&format!("{field}/type"), format!("`{word}` is not one of {}", known.join(", ")))
    })
}
