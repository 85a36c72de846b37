//! From what a workflow is asked for to its graph: every type a function from parameters to nodes.

use std::collections::{BTreeMap, BTreeSet};

use reeve_types::host::Host;
use reeve_types::operation::OperationKind;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cluster;
use super::graph::{Graph, Node, OnFailure, PARALLEL, Retry};

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
        OperationKind::ClusterCreate => cluster::create(workspace, parameters)?,
        OperationKind::ClusterDelete => cluster::delete(parameters, hosts)?,
        OperationKind::Batch => batch(workspace, parameters)?,
        single => {
            let node = Node::new(single.word(), single, request(single, workspace, parameters)?);
            Graph { nodes: vec![node], parallel: 1 }
        }
    };
    graph.check()?;
    Ok(graph)
}

pub(super) fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T> {
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

pub(super) fn parallel(limit: Option<usize>) -> Result<usize> {
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
pub(super) fn at(mut error: Error, field: &str) -> Error {
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
