//! How an operation begins: its row, its locks and its job stand or fall with the request that asks for it.

use reeve_jobs::NewJob;
use reeve_store::{Tx, operation as table, operation_lock as locks};
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, OperationId, Result, Secret};
use serde_json::Value;

use crate::seal::Aad;
use crate::{App, event};

/// What an operation is made of.
pub struct New<'a> {
    /// What it does.
    pub kind: OperationKind,
    /// Whether it does its work through operations of its own.
    pub is_workflow: bool,
    /// Where.
    pub workspace: &'a Workspace,
    /// The workflow that asks for it, and its name in that one's graph.
    pub parent: Option<(&'a OperationId, &'a str)>,
    /// Nothing is to be changed.
    pub check_mode: bool,
    /// Handle or name of what it is about.
    pub subject: String,
    /// What was asked for, without secrets.
    pub request: Value,
    /// The secret part of what was asked for, JSON text.
    pub secrets: Option<Secret>,
    /// What no other operation may touch meanwhile, as `host:<id>`.
    pub locks: Vec<String>,
    /// The operation that this one tries again.
    pub retry_of: Option<OperationId>,
    /// Its id, where it had to be known before.
    pub id: Option<OperationId>,
}

impl<'a> New<'a> {
    /// One without parent, secrets and locks.
    pub fn of(kind: OperationKind, workspace: &'a Workspace, subject: impl Into<String>, request: Value) -> Self {
        Self {
            kind,
            is_workflow: false,
            workspace,
            parent: None,
            check_mode: false,
            subject: subject.into(),
            request,
            secrets: None,
            locks: Vec::new(),
            retry_of: None,
            id: None,
        }
    }
}

/// Where the secrets of an operation are sealed.
pub(crate) fn aad(id: &OperationId) -> Aad<'_> {
    Aad::new("operations", "secrets_sealed", id.as_str())
}

/// The name of a host's lock.
pub fn host_lock(id: &reeve_types::HostId) -> String {
    format!("host:{id}")
}

/// Enters an operation with its job, in the transaction of the request. `job` makes the job for the operation's id.
///
/// # Errors
/// Conflict when something it locks is being worked on; Unavailable when too many are waiting.
pub async fn enter(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    new: New<'_>,
    job: impl FnOnce(&OperationId) -> Result<NewJob>,
) -> Result<Operation> {
    let most = app.config.provisioning.most_open_operations;
    if new.parent.is_none() && table::open(tx).await? >= most {
        let full = Error::unavailable(format!("{most} operations are under way or waiting: try again later"));
        return Err(Error { retry_after_ms: Some(10_000), ..full });
    }
    let now = app.now();
    let id = new.id.unwrap_or_else(|| OperationId(app.ids.next()));
    let secrets_sealed = new.secrets.map(|secrets| app.seal.seal(&*app.ids, aad(&id), secrets.expose()));
    let mut row = Operation {
        id: id.clone(),
        kind: new.kind,
        is_workflow: new.is_workflow,
        workspace_id: Some(new.workspace.id.clone()),
        workspace: new.workspace.name.clone(),
        parent_id: new.parent.map(|(parent, _)| parent.clone()),
        node: new.parent.map(|(_, node)| node.to_owned()),
        job_id: None,
        status: OperationStatus::Pending,
        check_mode: new.check_mode,
        subject: new.subject,
        request: new.request.to_string(),
        secrets_sealed,
        result: None,
        error: None,
        requested_by: actor.principal.label(),
        retry_of: new.retry_of,
        inserted_at: now,
        updated_at: now,
        started_at: None,
        finished_at: None,
    };
    table::insert(tx, &row).await?;
    for resource in &new.locks {
        let holder = locks::take(tx, resource, &id, now).await?;
        // What a workflow holds is free for the operations that it asks for.
        if let Some(holder) = holder.filter(|holder| Some(holder) != row.parent_id.as_ref()) {
            return Err(Error::conflict(format!(
                "operation {holder} is under way on {}: wait for it or cancel it",
                row.subject
            ))
            .with_reason("busy"));
        }
    }
    let job = job(&id)?.about(id.as_str()).unique(format!("operation:{id}"));
    let job = reeve_jobs::enqueue(tx, now, &*app.ids, job).await?;
    table::set_job(tx, &id, &job).await?;
    row.job_id = Some(job);
    reeve_store::workspace::used(tx, &new.workspace.id, now).await?;
    Ok(row)
}

/// Tells of an operation that was entered. Call it after the audit entry, last before the commit.
///
/// # Errors
/// As the store.
pub async fn tell_entered(app: &App, tx: &mut Tx, row: &Operation) -> Result<()> {
    let event = event::of_operation(event::OPERATION_CREATED, row, row.status, None);
    reeve_store::event::append(tx, &*app.ids, app.now(), &[event]).await
}

/// The secret part of what was asked for; None when there was none.
///
/// # Errors
/// Internal when it does not open.
pub fn secrets(app: &App, operation: &Operation) -> Result<Option<Secret>> {
    operation.secrets_sealed.as_deref().map(|sealed| app.seal.open(aad(&operation.id), sealed)).transpose()
}
