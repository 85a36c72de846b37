//! Workflows: operations that do their work through operations of their own, along a graph. A workflow is an operation and
//! has its id; what is special about it is here.

use reeve_jobs::NewJob;
use reeve_store::{host as hosts, operation as table, workspace as workspaces};
use reeve_types::host::HostFilter;
use reeve_types::operation::{Operation, OperationFilter, OperationKind};
use reeve_types::{Actor, Error, OperationId, Page, Permission, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::operation::{self, Detail, New, begin};
use crate::plan::CheckOperation;
use crate::{App, audit, authz, host, taskserv, workspace};

mod cluster;
pub mod graph;
mod launch;
pub mod saga;
pub mod shape;

use graph::Graph;
use saga::{RunWorkflow, Running as State};

/// What a workflow is asked for with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Submit {
    /// The workspace's name.
    pub workspace: String,
    /// A word of [`shape::TYPES`].
    pub workflow_type: String,
    /// What the type asks for.
    pub parameters: Map<String, Value>,
    /// Nothing is changed, the result is a plan.
    pub check_mode: bool,
    /// What was done stays when something fails.
    pub preserve_on_failure: bool,
}

/// Submits a workflow. Needs the permissions of what it does, too.
///
/// # Errors
/// Invalid for an unknown type and for parameters that are missing or wrong; Conflict for what another one is working on.
pub async fn submit(app: &App, actor: &Actor, input: Submit) -> Result<Operation> {
    authz::require(actor, Permission::WorkflowsSubmit)?;
    again(app, actor, input, None).await
}

pub(crate) async fn again(app: &App, actor: &Actor, input: Submit, retry_of: Option<&Operation>) -> Result<Operation> {
    let kind = shape::kind(&input.workflow_type)?;
    let mut input = input;
    for (name, flag) in [("check_mode", &mut input.check_mode), ("preserve_on_failure", &mut input.preserve_on_failure)]
    {
        // Anything else could be meant as a dry run, and would not be one.
        *flag |= match input.parameters.get(name) {
            None => false,
            Some(Value::Bool(said)) => *said,
            Some(_) => return Err(Error::invalid(&format!("parameters/{name}"), "must be true or false")),
        };
    }
    let (found, graph) = prepare(app, &input, kind, retry_of.is_none()).await?;
    for permission in permissions(&graph) {
        authz::require(actor, permission)?;
    }
    let mut tx = app.begin(actor).await?;
    let found = workspaces::lock(&mut tx, &found.name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let subject = input.parameters.get("cluster_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    // Parameters may hold secrets: in clear they are stored without, whole they are sealed.
    let shown = json!({
        "workspace": found.name, "workflow_type": kind, "check_mode": input.check_mode,
        "preserve_on_failure": input.preserve_on_failure, "parameters": redacted(&Value::Object(input.parameters.clone())),
    });
    let mut new = New::of(kind, &found, subject.clone(), shown);
    new.is_workflow = true;
    new.check_mode = input.check_mode;
    new.retry_of = retry_of.map(|found| found.id.clone());
    let sealed = Sealed { input: &input, graph: &graph };
    new.secrets = Some(Secret::new(serde_json::to_string(&sealed).map_err(Error::internal)?));
    if !subject.is_empty() && !input.check_mode {
        new.locks = vec![format!("cluster:{}:{}", found.id, subject.to_ascii_lowercase())];
    }
    let who = actor.principal.label();
    let (check, preserve) = (input.check_mode, input.preserve_on_failure);
    let entered = operation::enter(app, &mut tx, actor, new, |id| {
        if check {
            return CheckOperation::job(id, &who);
        }
        NewJob::saga::<App, RunWorkflow>(&State::of(id.clone(), preserve), &who)
    })
    .await?;
    if let Some(before) = retry_of {
        launch::take_over(&mut tx, before, &entered).await?;
    }
    let details = json!({"type": kind, "workspace": found.name, "operations": graph.nodes.len(), "check_mode": check});
    audit::record(app, &mut tx, actor, "workflow.submit", entered.id.as_str(), details).await?;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(entered)
}

#[derive(Serialize)]
struct Sealed<'a> {
    input: &'a Submit,
    graph: &'a Graph,
}

#[derive(Deserialize)]
struct Opened {
    input: Submit,
    graph: Graph,
}

fn opened(app: &App, operation: &Operation) -> Result<Opened> {
    let text = begin::secrets(app, operation)?.ok_or_else(|| Error::internal("a workflow without its graph"))?;
    serde_json::from_str(text.expose()).map_err(Error::internal)
}

/// The graph that a workflow was submitted with.
pub(crate) fn graph_of(app: &App, operation: &Operation) -> Result<Graph> {
    Ok(opened(app, operation)?.graph)
}

/// What a workflow was asked for with, secrets and all.
pub(crate) fn input_of(secrets: &Secret) -> Result<Submit> {
    let opened: Opened = serde_json::from_str(secrets.expose()).map_err(Error::internal)?;
    Ok(opened.input)
}

/// The graph, held against the workspace and the providers as far as that can be done before anything exists.
///
/// # Errors
/// Invalid; Conflict for a hostname that is taken, where nothing in the graph could free it. What is tried again has some
/// of its hosts already.
async fn prepare(
    app: &App,
    input: &Submit,
    kind: OperationKind,
    first_time: bool,
) -> Result<(reeve_types::workspace::Workspace, Graph)> {
    let (found, known) = {
        let mut tx = app.store.read().await?;
        let found = workspace::named(&mut tx, &input.workspace).await?;
        let filter = HostFilter { workspace_id: Some(found.id.clone()), ..HostFilter::default() };
        let known = hosts::list(&mut tx, &filter, host::MOST).await?;
        (found, known)
    };
    let mut graph = shape::graph(kind, &found, &input.parameters, &known)?;
    let mut hostnames = std::collections::BTreeSet::new();
    for node in graph.nodes.iter_mut().filter(|node| node.kind == OperationKind::ServerCreate) {
        let create: host::Create = shape::read(&node.request, &field_of(kind, &node.id))?;
        let prepared = host::create::prepare(app, &found, create, None).await?;
        let planned = prepared.host();
        if !hostnames.insert(planned.hostname.clone()) {
            let problem = format!("the hostname {} is used twice", planned.hostname);
            return Err(Error::invalid("parameters", problem));
        }
        let other = known.iter().find(|host| host.hostname == planned.hostname);
        if let (Some(other), true) = (other, first_time && kind != OperationKind::Batch) {
            return Err(host::create::taken(&planned.hostname, &found.name, other));
        }
        // Defaults may change before the node's turn: what was checked is what is done.
        for (name, value) in [
            ("hostname", &planned.hostname),
            ("provider", &planned.provider),
            ("plan", &planned.plan),
            ("zone", &planned.zone),
            ("image", &planned.image),
        ] {
            node.request[name] = json!(value);
        }
    }
    if kind == OperationKind::ClusterCreate {
        check_software(app, &found, &graph).await?;
    }
    Ok((found, graph))
}

/// What a client may look at when the request of a node is wrong.
fn field_of(kind: OperationKind, node: &str) -> String {
    if kind == OperationKind::Batch { format!("parameters/{node}") } else { "parameters".to_owned() }
}

/// What a cluster is to run must be there and rightly set before the first machine is ordered for it.
async fn check_software(app: &App, workspace: &reeve_types::workspace::Workspace, graph: &Graph) -> Result<()> {
    let of = |kind: OperationKind| graph.nodes.iter().filter(move |node| node.kind == kind);
    let made = of(OperationKind::ServerCreate).filter_map(|node| node.request["hostname"].as_str().map(str::to_owned));
    let made: Vec<String> = made.collect();
    let software: Vec<_> = of(OperationKind::TaskservCreate).collect();
    let requests: Vec<&Value> = software.iter().map(|node| &node.request).collect();
    match taskserv::first_wrong(app, workspace, &requests, &made).await? {
        Some((index, error)) => Err(shape::at(error, &software[index].id)),
        None => Ok(()),
    }
}

/// What the nodes of a graph ask of their caller.
fn permissions(graph: &Graph) -> std::collections::BTreeSet<Permission> {
    graph
        .nodes
        .iter()
        .map(|node| match node.kind {
            OperationKind::ServerDelete => Permission::HostsDelete,
            OperationKind::TaskservCreate | OperationKind::TaskservUpgrade => Permission::TaskservsCreate,
            OperationKind::TaskservDelete => Permission::TaskservsDelete,
            _ => Permission::HostsCreate,
        })
        .collect()
}

/// The value with `***` for whatever looks like a secret by its name.
pub(crate) fn redacted(value: &Value) -> Value {
    const SECRET: [&str; 6] = ["password", "passphrase", "secret", "token", "private_key", "credential"];
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| {
                    let word = name.to_ascii_lowercase();
                    let hidden = !value.is_null() && SECRET.iter().any(|secret| word.contains(secret));
                    (name.clone(), if hidden { json!("***") } else { redacted(value) })
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// One workflow.
///
/// # Errors
/// NotFound, also for an operation that is none.
pub async fn get(app: &App, actor: &Actor, id: &OperationId) -> Result<Operation> {
    authz::require(actor, Permission::WorkflowsRead)?;
    let found = table::get(&mut app.store.read().await?, id).await?;
    found.filter(|found| found.is_workflow).ok_or_else(|| Error::not_found("workflow"))
}

/// Workflows, the oldest first.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, mut filter: OperationFilter) -> Result<Vec<Operation>> {
    authz::require(actor, Permission::WorkflowsRead)?;
    filter.is_workflow = Some(true);
    let page = Page { number: 1, size: operation::MOST as u64 };
    Ok(table::list(&mut app.store.read().await?, &filter, false, page).await?.items)
}

/// How a node of a workflow stands.
#[derive(Clone, Debug)]
pub struct StepOf {
    /// Its id in the graph.
    pub node: String,
    /// What it does.
    pub kind: OperationKind,
    /// What it waits for.
    pub needs: Vec<String>,
    /// The operation that does it; None until it begins.
    pub operation: Option<Operation>,
    /// Times it was begun.
    pub tries: usize,
}

/// A workflow with its nodes in the order of its graph, and then what was done to take them back.
///
/// # Errors
/// NotFound.
pub async fn steps(app: &App, actor: &Actor, id: &OperationId) -> Result<(Detail, Vec<StepOf>)> {
    authz::require(actor, Permission::WorkflowsRead)?;
    let detail = operation::of(app, id).await?;
    if !detail.operation.is_workflow {
        return Err(Error::not_found("workflow"));
    }
    let graph = graph_of(app, &detail.operation)?;
    let children = &detail.children;
    let mut steps: Vec<StepOf> = graph
        .nodes
        .iter()
        .map(|node| StepOf {
            node: node.id.clone(),
            kind: node.kind,
            needs: node.needs.iter().chain(&node.after).cloned().collect(),
            operation: of(children, &node.id).next_back().cloned(),
            tries: of(children, &node.id).count(),
        })
        .collect();
    for child in &detail.children {
        let node = child.node.clone().unwrap_or_default();
        if node.starts_with(launch::UNDO) {
            let needs = Vec::new();
            steps.push(StepOf { node, kind: child.kind, needs, operation: Some(child.clone()), tries: 1 });
        }
    }
    Ok((detail, steps))
}

fn of<'a>(children: &'a [Operation], node: &'a str) -> impl DoubleEndedIterator<Item = &'a Operation> {
    children.iter().filter(move |child| child.node.as_deref() == Some(node))
}

/// The plan of a workflow: that of each of its nodes, in the order of its graph.
///
/// # Errors
/// As the requests themselves.
pub(crate) async fn check(app: &App, operation: &Operation) -> Result<crate::plan::Content> {
    let graph = graph_of(app, operation)?;
    let order: Vec<String> = graph.order().unwrap_or_default().into_iter().map(str::to_owned).collect();
    let mut content = crate::plan::Content::default();
    for id in order {
        if let Some(node) = graph.node(&id) {
            content.extend(launch::check(app, operation, node, &graph).await?);
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        let value =
            json!({"config": {"root_password": "x", "port": 1, "list": [{"api_token": "y", "none_token": null}]}});
        let shown =
            json!({"config": {"root_password": "***", "port": 1, "list": [{"api_token": "***", "none_token": null}]}});
        assert_eq!(redacted(&value), shown);
    }
}
