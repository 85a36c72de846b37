//! The graph of a workflow: operations with what they wait for. A plain value; who runs it is in [`super::saga`].

use std::collections::{BTreeMap, BTreeSet};

use reeve_types::operation::{OperationKind, OperationStatus};
use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Nodes of one graph.
pub const MOST_NODES: usize = 1_000;
/// Characters of a node's id.
pub const MOST_ID: usize = 100;
/// Operations of one workflow at once, unless it says otherwise.
pub const PARALLEL: usize = 10;

/// What happens to the workflow when a node has failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It fails, and what was done is kept.
    Fail,
    /// It goes on; what needs the node is skipped.
    Continue,
    /// It fails, and what was done is taken back.
    #[default]
    Rollback,
}

/// How the pauses between tries go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pauses {
    /// Each is twice the one before.
    #[default]
    Doubling,
    /// Each is longer than the one before by the first.
    Growing,
    /// All are like the first.
    Same,
}

/// How often a node is tried, and how long between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Pause after the first failure, in ms.
    pub first_ms: i64,
    /// How the pauses go on.
    #[serde(default)]
    pub pauses: Pauses,
    /// The longest pause, in ms.
    pub most_ms: i64,
}

impl Default for Retry {
    /// Once.
    fn default() -> Self {
        Self { attempts: 1, first_ms: 5_000, pauses: Pauses::Doubling, most_ms: 300_000 }
    }
}

impl Retry {
    /// The pause after so many failures.
    pub fn pause_ms(&self, failures: u32) -> i64 {
        let times = match self.pauses {
            Pauses::Doubling => 1 << failures.saturating_sub(1).min(20),
            Pauses::Growing => i64::from(failures.max(1)),
            Pauses::Same => 1,
        };
        self.first_ms.saturating_mul(times).min(self.most_ms)
    }
}

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the graph.
    pub id: String,
    /// What it does.
    pub kind: OperationKind,
    /// How it is asked for.
    pub request: Value,
    /// Nodes that must be completed before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Nodes that must have ended before, however.
    #[serde(default)]
    pub after: Vec<String>,
    /// When it fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How often it is tried.
    #[serde(default)]
    pub retry: Retry,
}

impl Node {
    /// A node that waits for nothing and is tried once.
    pub fn new(id: impl Into<String>, kind: OperationKind, request: Value) -> Self {
        Self {
            id: id.into(),
            kind,
            request,
            needs: Vec::new(),
            after: Vec::new(),
            on_failure: OnFailure::default(),
            retry: Retry::default(),
        }
    }

    /// Hostnames and handles that it works on: two nodes that share one do not run at once.
    pub fn touches(&self) -> BTreeSet<&str> {
        let text = |field: &str| self.request[field].as_str();
        let servers = self.request["servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        [text("hostname"), text("server"), text("taskserv")].into_iter().flatten().chain(servers).collect()
    }
}

/// A workflow's operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Operations at once.
    pub parallel: usize,
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not begun, or to be tried again.
    Waiting,
    /// Being done.
    Running,
    /// Done.
    Done,
    /// Failed for good.
    Failed,
    /// Not done, because what it needs failed.
    Skipped,
}

impl Standing {
    /// Of an operation's status, where a failure is for good.
    pub fn of(status: OperationStatus) -> Self {
        match status {
            OperationStatus::Pending | OperationStatus::Running => Self::Running,
            OperationStatus::Completed => Self::Done,
            OperationStatus::Failed | OperationStatus::Cancelled => Self::Failed,
        }
    }
    fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

impl Graph {
    /// Holds the graph against the rules of graphs.
    ///
    /// # Errors
    /// Invalid for one without nodes, with too many, with an id twice, a reference to nothing, or a circle; names them.
    pub fn check(&self) -> Result<()> {
        let invalid = |problem: String| Err(Error::invalid("operations", problem));
        if self.nodes.is_empty() || self.nodes.len() > MOST_NODES {
            return invalid(format!("must be 1 to {MOST_NODES}; there are {}", self.nodes.len()));
        }
        let mut ids = BTreeSet::new();
        for node in &self.nodes {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            if node.id.is_empty() || node.id.len() > MOST_ID || !node.id.chars().all(plain) {
                return invalid(format!(
                    "id `{}` must be 1 to {MOST_ID} letters, digits, `.`, `_`, `-` and `/`",
                    node.id
                ));
            }
            if !ids.insert(node.id.as_str()) {
                return invalid(format!("id `{}` is used twice", node.id));
            }
        }
        for node in &self.nodes {
            for other in node.needs.iter().chain(&node.after) {
                if other == &node.id {
                    return invalid(format!("`{}` depends on itself", node.id));
                }
                if !ids.contains(other.as_str()) {
                    return invalid(format!("`{}` depends on `{other}`, which does not exist", node.id));
                }
            }
        }
        match self.order() {
            Ok(_) => Ok(()),
            Err(circle) => invalid(format!("depend on each other in a circle: {}", circle.join(", "))),
        }
    }

    /// Ids in an order in which nothing comes before what it waits for; else the nodes that wait for each other.
    pub fn order(&self) -> std::result::Result<Vec<&str>, Vec<&str>> {
        let mut left: BTreeMap<&str, usize> =
            self.nodes.iter().map(|node| (node.id.as_str(), node.needs.len() + node.after.len())).collect();
        let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in &self.nodes {
            for other in node.needs.iter().chain(&node.after) {
                waiting.entry(other).or_default().push(&node.id);
            }
        }
        let mut free: std::collections::VecDeque<&str> =
            self.nodes.iter().map(|node| node.id.as_str()).filter(|id| left[id] == 0).collect();
        let mut order = Vec::new();
        while let Some(id) = free.pop_front() {
            order.push(id);
            for next in waiting.get(id).into_iter().flatten() {
                if let Some(count) = left.get_mut(next) {
                    *count -= 1;
                    if *count == 0 {
                        free.push_back(next);
                    }
                }
            }
        }
        if order.len() == self.nodes.len() {
            return Ok(order);
        }
        Err(left.into_iter().filter(|(_, count)| *count > 0).map(|(id, _)| id).collect())
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Marks what cannot be done any more: nodes that need one that failed or was skipped.
    pub fn skip(&self, standing: &mut BTreeMap<String, Standing>) {
        let Ok(order) = self.order() else { return };
        for id in order {
            let Some(node) = self.node(id) else { continue };
            let of = |other: &String| standing.get(other).copied().unwrap_or(Standing::Waiting);
            let lost = node.needs.iter().any(|other| matches!(of(other), Standing::Failed | Standing::Skipped));
            if lost && of(&node.id) == Standing::Waiting {
                standing.insert(node.id.clone(), Standing::Skipped);
            }
        }
    }

    /// Nodes that can begin beside those that run.
    pub fn ready<'g>(&'g self, standing: &BTreeMap<String, Standing>) -> Vec<&'g Node> {
        let of = |id: &String| standing.get(id).copied().unwrap_or(Standing::Waiting);
        let running: Vec<&Node> = self.nodes.iter().filter(|node| of(&node.id) == Standing::Running).collect();
        let mut room = self.parallel.max(1).saturating_sub(running.len());
        let mut touched: BTreeSet<&str> = running.iter().flat_map(|node| node.touches()).collect();
        let mut ready = Vec::new();
        for node in &self.nodes {
            let free = of(&node.id) == Standing::Waiting
                && node.needs.iter().all(|other| of(other) == Standing::Done)
                && node.after.iter().all(|other| of(other).is_settled());
            if room > 0 && free && node.touches().is_disjoint(&touched) {
                touched.extend(node.touches());
                ready.push(node);
                room -= 1;
            }
        }
        ready
    }

    /// Whether nothing is left to do.
    pub fn is_settled(&self, standing: &BTreeMap<String, Standing>) -> bool {
        self.nodes.iter().all(|node| standing.get(&node.id).is_some_and(|s| s.is_settled()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(id: &str, needs: &[&str]) -> Node {
        let mut node = Node::new(id, OperationKind::ServerCreate, json!({"hostname": id}));
        node.needs = needs.iter().map(ToString::to_string).collect();
        node
    }

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph { nodes, parallel: 2 }
    }

    fn problem(graph: &Graph) -> String {
        graph.check().unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_graph_is_named() {
        assert!(problem(&graph(vec![])).contains("1 to 1000"));
        assert!(problem(&graph(vec![node("a", &[]), node("a", &[])])).contains("`a` is used twice"));
        assert!(problem(&graph(vec![node("a", &["b"])])).contains("`a` depends on `b`, which does not exist"));
        assert!(problem(&graph(vec![node("a", &["a"])])).contains("depends on itself"));
        let circle = graph(vec![node("a", &["c"]), node("b", &["a"]), node("c", &["b"]), node("d", &[])]);
        assert!(problem(&circle).contains("in a circle: a, b, c"));
        assert!(problem(&graph(vec![node("a b", &[])])).contains("letters"));
        graph(vec![node("b", &["a"]), node("a", &[])]).check().unwrap();
    }

    #[test]
    fn nodes_begin_when_what_they_need_is_done_and_there_is_room() {
        let graph = graph(vec![node("a", &[]), node("b", &[]), node("c", &[]), node("d", &["a", "b"])]);
        let mut standing = BTreeMap::new();
        let ids = |nodes: Vec<&Node>| nodes.into_iter().map(|n| n.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(graph.ready(&standing)), ["a", "b"]);
        standing.insert("a".to_owned(), Standing::Running);
        assert_eq!(ids(graph.ready(&standing)), ["b"]);
        standing.insert("a".to_owned(), Standing::Done);
        standing.insert("b".to_owned(), Standing::Failed);
        graph.skip(&mut standing);
        assert_eq!(standing["d"], Standing::Skipped);
        assert_eq!(ids(graph.ready(&standing)), ["c"]);
        standing.insert("c".to_owned(), Standing::Done);
        assert!(graph.is_settled(&standing));
    }

    #[test]
    fn two_nodes_on_one_host_wait_for_each_other() {
        let on = |id: &str, servers: &[&str]| {
            Node::new(id, OperationKind::TaskservCreate, json!({"name": id, "servers": servers}))
        };
        let graph = graph(vec![on("redis", &["a", "b"]), on("etcd", &["b"]), on("proxy", &["c"])]);
        let ready: Vec<&str> = graph.ready(&BTreeMap::new()).into_iter().map(|n| n.id.as_str()).collect();
        assert_eq!(ready, ["redis", "proxy"]);
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        let pauses = |pauses| {
            let retry = Retry { attempts: 5, first_ms: 5_000, pauses, most_ms: 18_000 };
            [1, 2, 3, 4].map(|n| retry.pause_ms(n))
        };
        assert_eq!(pauses(Pauses::Doubling), [5_000, 10_000, 18_000, 18_000]);
        assert_eq!(pauses(Pauses::Growing), [5_000, 10_000, 15_000, 18_000]);
        assert_eq!(pauses(Pauses::Same), [5_000; 4]);
    }
}
