//! From what a workflow is asked for to its graph: every type a function from parameters to nodes.

use std::collections::{BTreeMap, BTreeSet};

use reeve_types::host::Host;
use reeve_types::operation::OperationKind;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

use super::cluster;
use super::graph::{Graph, MOST_ID, MOST_NODES, Node, OnFailure, PARALLEL, Pauses, Retry};

/// Bytes of all requests of a graph: `items` and clusters repeat what was asked for once.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Dependencies of all nodes of a graph: groups depend on groups, each on each.
const MOST_DEPENDENCIES: usize = 100_000;

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

/// Reads what is at `field`.
///
/// # Errors
/// Invalid; names the field below it that is wrong.
pub(super) fn read<'v, T: Deserialize<'v>>(value: &'v Value, field: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|problem| {
        let mut field = field.to_owned();
        for segment in problem.path() {
            match segment {
                Segment::Seq { index } => field.push_str(&format!("/{index}")),
                Segment::Map { key } => field.push_str(&format!("/{key}")),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Error::invalid(&field, in_words(&problem.into_inner().to_string()))
    })
}

/// A reader's words for what it expected, for people who do not know its types.
fn in_words(problem: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("expected u32", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
        ("expected struct Part", "expected an object"),
        ("expected struct RetryPolicy", "expected an object"),
        (
            "data did not match any variant of untagged enum Dependency",
            "must be an id, or an object with `id` and `kind`",
        ),
    ];
    let mut text = problem.to_owned();
    for (theirs, ours) in WORDS {
        text = text.replace(theirs, ours);
    }
    text
}

/// So many requests as large as this one.
///
/// # Errors
/// Invalid when they are too large altogether.
pub(super) fn fits(field: &str, sizes: impl Iterator<Item = usize>) -> Result<()> {
    let bytes = sizes.fold(0_usize, usize::saturating_add);
    if bytes > MOST_BYTES {
        let problem = format!("would be {bytes} bytes when written out for each operation; at most {MOST_BYTES} fit");
        return Err(Error::invalid(field, problem));
    }
    Ok(())
}

/// How long it is when written.
pub(super) fn size(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
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
    // Hostnames know no case.
    if let Some(Value::Array(servers)) = request.get_mut("servers") {
        for server in servers {
            if let Value::String(name) = server {
                name.make_ascii_lowercase();
            }
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
        let pauses = match self.backoff {
            Backoff::Exponential => Pauses::Doubling,
            Backoff::Linear => Pauses::Growing,
            Backoff::Fixed => Pauses::Same,
        };
        let (first_ms, most_ms) = (ms(self.first_delay_secs), ms(self.max_delay_secs));
        Ok(Retry { attempts: self.attempts, first_ms, pauses, most_ms })
    }
}

fn batch(workspace: &Workspace, parameters: &Map<String, Value>) -> Result<Graph> {
    let whole = Value::Object(parameters.clone());
    let batch: Batch = read(&whole, "parameters")?;
    let retry = batch.retry.map(|policy| policy.read("parameters/retry")).transpose()?.unwrap_or_default();
    let usual = if batch.rollback_enabled { OnFailure::Rollback } else { OnFailure::Fail };
    let groups = groups(&batch.operations)?;
    let mut nodes = Vec::new();
    let mut dependencies = 0;
    for (index, part) in batch.operations.iter().enumerate() {
        let field = format!("parameters/operations/{index}");
        let kind = operation_kind(&part.kind, &field)?;
        let retry = part.retry.map(|policy| policy.read(&format!("{field}/retry"))).transpose()?.unwrap_or(retry);
        let (needs, after) = part.waits_for(&groups, &field)?;
        let names = groups.get(part.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        dependencies += (needs.len() + after.len()) * names.len();
        if dependencies > MOST_DEPENDENCIES {
            let problem = format!("the operations have more than {MOST_DEPENDENCIES} dependencies altogether");
            return Err(Error::invalid(&format!("{field}/depends_on"), problem));
        }
        let nothing = [Map::new()];
        let items: &[Map<String, Value>] = if part.items.is_empty() { &nothing } else { &part.items };
        for (name, item) in names.iter().zip(items) {
            let mut parameters = part.parameters.clone();
            parameters.extend(item.clone());
            // A dry run is one of everything: half of one would change things.
            if parameters.get("check_mode").is_some_and(|value| *value != json!(false)) {
                let rule = "is for the whole workflow: say it beside `parameters`";
                return Err(Error::invalid(&format!("{field}/parameters/check_mode"), rule));
            }
            let request = request(kind, workspace, &parameters).map_err(|error| at(error, &field))?;
            let mut node = Node::new(name.clone(), kind, request);
            (node.needs, node.after) = (needs.clone(), after.clone());
            (node.on_failure, node.retry) = (part.on_failure.unwrap_or(usual), retry);
            nodes.push(node);
        }
    }
    Ok(Graph { nodes, parallel: parallel(batch.parallel_limit)? })
}

/// The nodes of each part by its id. A part with items is a group: whoever waits for it waits for all of it.
///
/// # Errors
/// Invalid when they would be too many or too large: nothing is written out before that is known.
fn groups(parts: &[Part]) -> Result<BTreeMap<&str, Vec<String>>> {
    let count = parts.iter().fold(0_usize, |count, part| count.saturating_add(part.items.len().max(1)));
    if count > MOST_NODES {
        let problem = format!("must be 1 to {MOST_NODES}; there are {count}");
        return Err(Error::invalid("parameters/operations", problem));
    }
    let large = parts.iter().map(|part| {
        let each = size(&part.parameters).saturating_mul(part.items.len().max(1));
        each.saturating_add(size(&part.items))
    });
    fits("parameters/operations", large)?;
    let mut groups = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        if part.id.is_empty() || part.id.len() > MOST_ID {
            let field = format!("parameters/operations/{index}/id");
            return Err(Error::invalid(&field, format!("must be 1 to {MOST_ID} characters")));
        }
        let names = match part.items.len() {
            0 => vec![part.id.clone()],
            items => (1..=items).map(|n| format!("{}-{n}", part.id)).collect(),
        };
        if groups.insert(part.id.as_str(), names).is_some() {
            return Err(Error::invalid("parameters/operations", format!("id `{}` is used twice", part.id)));
        }
    }
    Ok(groups)
}

impl Part {
    /// What has to be completed before it, and what only has to have ended; each once.
    fn waits_for(&self, groups: &BTreeMap<&str, Vec<String>>, field: &str) -> Result<(Vec<String>, Vec<String>)> {
        let (mut needs, mut after) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for dependency in &self.depends_on {
            let (id, kind) = match dependency {
                Dependency::Hard(id) => (id, DependencyKind::Hard),
                Dependency::Told { id, kind } => (id, *kind),
            };
            if !seen.insert((id, kind == DependencyKind::Hard)) {
                continue;
            }
            let group = groups.get(id.as_str());
            if group.is_none() && kind == DependencyKind::Optional {
                continue;
            }
            let group = group
                .ok_or_else(|| Error::invalid(&format!("{field}/depends_on"), format!("`{id}` does not exist")))?;
            if kind == DependencyKind::Hard { needs.extend(group.clone()) } else { after.extend(group.clone()) }
        }
        Ok((needs, after))
    }
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
