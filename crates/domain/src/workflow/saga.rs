//! Runs a workflow: begins what is ready, waits for what runs, and takes everything back when it fails.
//!
//! What a node did is in its operation's row, so every pass begins by looking there; a crash forgets nothing. Every
//! completed operation is a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, Running as Job, Saga, Step, Steps};
use reeve_store::{Tx, operation as table};
use reeve_types::operation::{Operation, OperationStatus};
use reeve_types::{Error, OperationId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::graph::{Graph, OnFailure, Standing};
use super::launch::{self, Taken, UNDO};
use crate::App;
use crate::operation::{self, Why};

/// A look at the rows at least this often; the end of an operation wakes it.
const LOOK: Duration = Duration::from_secs(5);
/// Tries of taking one node back.
const UNDO_TRIES: usize = 3;

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    operation: OperationId,
    preserve: bool,
    /// Requests that were refused before they became an operation: node, how often, the last reason and when.
    #[serde(default)]
    refused: BTreeMap<String, (u32, String, Timestamp)>,
    /// What could not be taken back.
    #[serde(default)]
    warnings: Vec<String>,
    why: Option<Why>,
}

impl Running {
    /// The state a saga begins with.
    pub fn of(operation: OperationId, preserve: bool) -> Self {
        Self { operation, preserve, refused: BTreeMap::new(), warnings: Vec::new(), why: None }
    }
}

/// The saga.
pub struct RunWorkflow;

impl Saga<App> for RunWorkflow {
    const KIND: &'static str = "workflow.run";
    const STEP_TIMEOUT: Duration = Duration::from_secs(300);
    const UNDO_ATTEMPTS: i64 = 20;
    type State = Running;
    fn steps() -> Steps<App, Running> {
        Steps::new().then(Begin).then(Nodes).then(Finish)
    }
}

struct Begin;
impl Step<App, Running> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, running: &mut Running) -> Result<(), Failure> {
        operation::started(app, tx, &running.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Job, running: &mut Running) -> Result<(), Failure> {
        let mut why = operation::why(app, job).await?;
        if let (Some(error), false) = (&mut why.error, running.warnings.is_empty()) {
            error.push_str("; ");
            error.push_str(&running.warnings.join("; "));
        }
        running.why = Some(why);
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, running: &mut Running) -> Result<(), Failure> {
        operation::undone(app, tx, &running.operation, &running.why.clone().unwrap_or_default()).await
    }
}

/// How a workflow stands at one moment.
struct Scene {
    workflow: Operation,
    graph: Graph,
    children: Vec<Operation>,
}

impl Scene {
    async fn look(app: &App, id: &OperationId) -> Result<Self, Failure> {
        let mut tx = app.store.read().await?;
        let workflow =
            table::get(&mut tx, id).await?.ok_or_else(|| Error::conflict("the workflow is not known any more"))?;
        let children = table::children(&mut tx, id).await?;
        let graph = super::graph_of(app, &workflow)?;
        Ok(Self { workflow, graph, children })
    }

    fn of<'a>(&'a self, node: &'a str) -> impl DoubleEndedIterator<Item = &'a Operation> {
        self.children.iter().filter(move |child| child.node.as_deref() == Some(node))
    }
}

struct Nodes;
impl Step<App, Running> for Nodes {
    fn name(&self) -> &'static str {
        "operations"
    }

    async fn run(&self, app: &Arc<App>, job: &Job, running: &mut Running) -> Result<(), Failure> {
        loop {
            let scene = Scene::look(app, &running.operation).await?;
            if scene.workflow.status.is_final() || job.is_cancelled() {
                return Err(Failure::Fail(Error::conflict("the operation was cancelled")));
            }
            let (standing, next_at) = stand(app, &scene, running)?;
            if scene.graph.is_settled(&standing) {
                return Ok(());
            }
            let ready = scene.graph.ready(&standing);
            let mut begun = false;
            for node in ready {
                if next_at.get(&node.id).is_some_and(|at| app.now() < *at) {
                    continue;
                }
                begun = true;
                match launch::begin(app, &scene.workflow, node).await {
                    Ok(true) => job.output.line(&format!("{}: begun", node.id)),
                    Ok(false) => {}
                    Err(error) => {
                        let failure = Failure::from(error);
                        job.output.line(&format!("{}: refused: {}", node.id, failure.error()));
                        let (count, why, at) =
                            running.refused.entry(node.id.clone()).or_insert((0, String::new(), app.now()));
                        // What is only away for a while is asked again without counting.
                        *count += u32::from(!matches!(failure, Failure::Retry { .. }));
                        *why = failure.error().to_string();
                        *at = app.now();
                        if matches!(failure, Failure::Retry { .. }) {
                            return Err(Failure::wait(LOOK, format!("{}: {}", node.id, failure.error())));
                        }
                    }
                }
            }
            if begun {
                continue;
            }
            let open = scene.children.iter().filter(|child| !child.status.is_final()).count();
            let now = app.now();
            let due = next_at.values().map(|at| at.ms_since(now)).filter(|ms| *ms > 0).min();
            let after = due.map_or(LOOK, |ms| Duration::from_millis(ms as u64).min(LOOK));
            return Err(Failure::wait(after, format!("{open} operations are under way")));
        }
    }

    /// Everything that is open is called off and awaited; everything that was done is taken back, the last first.
    async fn undo(&self, app: &Arc<App>, job: &Job, running: &mut Running) -> Result<(), Failure> {
        let scene = Scene::look(app, &running.operation).await?;
        let called_off = job.is_cancelled() || scene.workflow.status == OperationStatus::Cancelled;
        let kept = running.preserve || keeps(&scene, running);
        if kept && !called_off {
            // What goes well beside the failure is worth keeping, too.
            return match scene.children.iter().filter(|child| !child.status.is_final()).count() {
                0 => Ok(()),
                open => Err(Failure::wait(LOOK, format!("{open} operations are under way still"))),
            };
        }
        if call_off(app, &scene).await? {
            return Err(Failure::wait(LOOK, "operations are being called off"));
        }
        if kept {
            return Ok(());
        }
        // Between that look and its calling off an operation may have completed: only now nothing moves any more.
        let scene = Scene::look(app, &running.operation).await?;
        let order = scene.graph.order().map_err(|_| Error::internal("a circle"))?;
        let mut open = false;
        for id in order.into_iter().rev() {
            let Some(done) = scene.of(id).find(|child| child.status == OperationStatus::Completed) else { continue };
            let name = format!("{UNDO}{id}");
            let tries: Vec<&Operation> = scene.of(&name).collect();
            match tries.last().map(|last| last.status) {
                Some(OperationStatus::Completed) => continue,
                Some(status) if !status.is_final() => {
                    open = true;
                    continue;
                }
                Some(_) if tries.len() >= UNDO_TRIES => {
                    let why = tries.last().and_then(|last| last.error.clone()).unwrap_or_default();
                    return Err(Failure::Fail(Error::conflict(format!("{id} could not be taken back: {why}"))));
                }
                _ => {}
            }
            // What stands on it goes first.
            let above = scene.graph.nodes.iter().filter(|node| node.needs.iter().any(|need| need == id));
            let waits =
                above.filter(|node| scene.of(&node.id).any(|c| c.status == OperationStatus::Completed)).any(|node| {
                    let name = format!("{UNDO}{}", node.id);
                    scene.of(&name).any(|undo| !undo.status.is_final())
                });
            if waits {
                open = true;
                continue;
            }
            match launch::take_back(app, &scene.workflow, done, &scene.graph).await? {
                Taken::Begun => {
                    job.output.line(&format!("{id}: being taken back"));
                    open = true;
                }
                Taken::Nothing => {}
                Taken::Never(why) => {
                    if !running.warnings.contains(&why) {
                        job.output.line(&why);
                        running.warnings.push(why);
                    }
                }
            }
        }
        if open {
            return Err(Failure::wait(LOOK, "what was done is being taken back"));
        }
        Ok(())
    }
}

type Due = BTreeMap<String, Timestamp>;

/// How every node stands, and when those that failed may be tried again.
fn stand(app: &App, scene: &Scene, running: &Running) -> Result<(BTreeMap<String, Standing>, Due), Error> {
    let mut standing = BTreeMap::new();
    let mut next_at = Due::new();
    for node in &scene.graph.nodes {
        let tries: Vec<&Operation> = scene.of(&node.id).collect();
        let refused = running.refused.get(&node.id);
        let failures = tries.iter().filter(|child| Standing::of(child.status) == Standing::Failed).count() as u32
            + refused.map_or(0, |(count, _, _)| *count);
        let last = tries.last();
        let now = match last.map(|child| Standing::of(child.status)) {
            Some(now @ (Standing::Running | Standing::Done)) => now,
            _ if failures == 0 => Standing::Waiting,
            _ => {
                let ended_at = last.and_then(|child| child.finished_at);
                let refused_at = refused.map(|(_, _, at)| *at);
                let at = ended_at.into_iter().chain(refused_at).max().unwrap_or(app.now());
                if failures < node.retry.attempts {
                    next_at.insert(node.id.clone(), at.plus_ms(node.retry.pause_ms(failures)));
                    Standing::Waiting
                } else {
                    Standing::Failed
                }
            }
        };
        if now == Standing::Failed && node.on_failure != OnFailure::Continue {
            return Err(Error::conflict(format!("{}: {}", node.id, reason(&tries, refused))));
        }
        standing.insert(node.id.clone(), now);
    }
    scene.graph.skip(&mut standing);
    Ok((standing, next_at))
}

fn reason(tries: &[&Operation], refused: Option<&(u32, String, Timestamp)>) -> String {
    let ended = tries.iter().rev().find(|child| child.status.is_final());
    match (refused, ended) {
        (Some((_, why, at)), ended) if ended.and_then(|e| e.finished_at).is_none_or(|end| end <= *at) => why.clone(),
        (_, Some(child)) => child.error.clone().unwrap_or_else(|| child.status.word().to_owned()),
        _ => "failed".to_owned(),
    }
}

/// Whether the node that failed wants the rest kept.
fn keeps(scene: &Scene, running: &Running) -> bool {
    scene.graph.nodes.iter().any(|node| {
        let failed = scene.of(&node.id).next_back().is_some_and(|child| child.status == OperationStatus::Failed)
            || running.refused.contains_key(&node.id);
        node.on_failure == OnFailure::Fail && failed
    })
}

/// Calls off what is open, and says whether something is still taking itself back.
async fn call_off(app: &App, scene: &Scene) -> Result<bool, Failure> {
    let mut open = false;
    for child in &scene.children {
        let undo = child.node.as_deref().is_some_and(|node| node.starts_with(UNDO));
        if !child.status.is_final() && !undo {
            let mut tx = app.store.begin().await?;
            if let Some(child) = table::lock(&mut tx, &child.id).await?.filter(|child| !child.status.is_final()) {
                operation::end::cancel(app, &mut tx, &child).await?;
                operation::end::tell(app, &mut tx, &child, OperationStatus::Cancelled, None).await?;
            }
            tx.commit().await?;
        }
        if let (Some(id), false) = (&child.job_id, undo) {
            let row = reeve_store::job::get(&mut app.store.read().await?, id).await?;
            open |= row.is_some_and(|row| !row.state.is_final());
        }
    }
    Ok(open)
}

struct Finish;
impl Step<App, Running> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, running: &mut Running) -> Result<(), Failure> {
        let workflow = table::get(tx, &running.operation).await?.ok_or_else(|| Error::not_found("workflow"))?;
        let children = table::children(tx, &running.operation).await?;
        let graph = super::graph_of(app, &workflow)?;
        operation::completed(app, tx, &running.operation, &result(&workflow, &graph, &children, running)).await
    }
    // Nothing outside was done.
    async fn undo(&self, _: &Arc<App>, _: &Job, _: &mut Running) -> Result<(), Failure> {
        Ok(())
    }
}

/// What came of a workflow: every operation's id, and what they say of themselves.
fn result(workflow: &Operation, graph: &Graph, children: &[Operation], running: &Running) -> Value {
    let mut operations = serde_json::Map::new();
    let (mut servers, mut taskservs) = (Vec::new(), Vec::new());
    let mut failed = Vec::new();
    for node in &graph.nodes {
        let child = children.iter().rfind(|child| child.node.as_deref() == Some(&node.id));
        let Some(child) = child.filter(|child| child.status == OperationStatus::Completed) else {
            failed.push(node.id.clone());
            continue;
        };
        operations.insert(node.id.clone(), json!(child.id));
        let said: Value = child.result.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        match node.kind {
            reeve_types::operation::OperationKind::ServerCreate => servers.push(json!({
                "server_id": said["server_id"], "hostname": said["hostname"], "ip_address": said["ip_address"],
                "role": node.request["labels"]["role"],
            })),
            reeve_types::operation::OperationKind::TaskservCreate => taskservs.push(json!({
                "taskserv_id": child.subject, "name": node.request["name"], "servers": node.request["servers"],
            })),
            _ => {}
        }
    }
    let mut result = json!({"operations": operations, "servers": servers, "taskservs": taskservs});
    if !workflow.subject.is_empty() {
        result["cluster_name"] = json!(workflow.subject);
    }
    if !failed.is_empty() || !running.warnings.is_empty() {
        result["failed"] = json!(failed);
        result["warnings"] = json!(running.warnings);
    }
    // One operation as a workflow says what that operation says.
    if let ([node], [_]) = (graph.nodes.as_slice(), operations_of(children, graph).as_slice())
        && let Some(child) = children.iter().rfind(|child| child.node.as_deref() == Some(&node.id))
        && let Some(Value::Object(said)) = child.result.as_deref().and_then(|text| serde_json::from_str(text).ok())
    {
        for (name, value) in said {
            if result.get(&name).is_none() {
                result[name] = value;
            }
        }
    }
    result
}

fn operations_of<'a>(children: &'a [Operation], graph: &Graph) -> Vec<&'a Operation> {
    let known = |child: &&Operation| graph.nodes.iter().any(|node| child.node.as_deref() == Some(&node.id));
    children.iter().filter(known).filter(|child| child.status == OperationStatus::Completed).collect()
}
