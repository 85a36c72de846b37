//! Operations.

use reeve_domain::operation::Detail;
use reeve_types::operation::{Operation, OperationFilter, OperationKind, OperationLine, OperationStatus, PhaseState};
use reeve_types::{Error, Page, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{document, period, shown, shown_if};

/// The largest page.
const PER_PAGE: u64 = 100;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    status: Option<String>,
    workspace: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    created_after: Option<String>,
    created_before: Option<String>,
    page: Option<u64>,
    per_page: Option<u64>,
}

impl Query {
    /// The page that is asked for; None is all.
    pub fn page(&self) -> Option<Page> {
        let asked = self.page.is_some() || self.per_page.is_some();
        asked.then(|| Page { number: self.page.unwrap_or(1), size: self.per_page.unwrap_or(PER_PAGE) })
    }

    /// Which operations.
    ///
    /// # Errors
    /// Invalid for a word that is no state and for a wrong instant.
    pub fn filter(&self) -> Result<OperationFilter> {
        let words =
            self.status.iter().flat_map(|words| words.split(',')).map(str::trim).filter(|word| !word.is_empty());
        Ok(OperationFilter {
            statuses: words.map(status).collect::<Result<_>>()?,
            workspace: self.workspace.clone(),
            kind: self.kind.as_deref().and_then(OperationKind::parse),
            is_workflow: None,
            parent_id: None,
            inserted_at: period(self.created_after.as_deref(), self.created_before.as_deref())?,
        })
    }
}

fn status(word: &str) -> Result<OperationStatus> {
    OperationStatus::parse(word).ok_or_else(|| {
        let problem = format!("`{word}` is no state; there are pending, running, completed, failed and cancelled");
        Error::invalid("status", problem)
    })
}

/// An operation: six keys.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    status: OperationStatus,
    created_at: String,
    updated_at: String,
    result: Option<Box<RawValue>>,
    error: Option<String>,
}

impl From<OperationLine> for View {
    fn from(line: OperationLine) -> Self {
        Self {
            id: line.id.0,
            status: line.status,
            created_at: shown(line.inserted_at),
            updated_at: shown(line.updated_at),
            result: document(line.result),
            error: line.error,
        }
    }
}

impl From<Operation> for View {
    fn from(operation: Operation) -> Self {
        Self {
            id: operation.id.0,
            status: operation.status,
            created_at: shown(operation.inserted_at),
            updated_at: shown(operation.updated_at),
            result: document(operation.result),
            error: operation.error,
        }
    }
}

/// An operation with how its work stands.
#[derive(Debug, Serialize)]
pub struct DetailView {
    id: String,
    #[serde(rename = "type")]
    kind: OperationKind,
    workflow: bool,
    status: OperationStatus,
    workspace: String,
    subject: String,
    check_mode: bool,
    requested_by: String,
    retry_of: Option<String>,
    parent_id: Option<String>,
    node: Option<String>,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    progress: Progress,
    steps: Vec<Step>,
    phases: Vec<Phase>,
    waiting: Option<String>,
    result: Option<Box<RawValue>>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Progress {
    done: usize,
    total: usize,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct Phase {
    name: String,
    state: PhaseState,
    detail: Option<String>,
    started_at: String,
    finished_at: Option<String>,
}

impl From<Detail> for DetailView {
    fn from(detail: Detail) -> Self {
        let (done, total) = detail.progress();
        let phases = detail.phases.into_iter().map(|phase| Phase {
            name: phase.name,
            state: phase.state,
            detail: phase.detail,
            started_at: shown(phase.started_at),
            finished_at: shown_if(phase.finished_at),
        });
        let operation = detail.operation;
        Self {
            id: operation.id.0,
            kind: operation.kind,
            workflow: operation.is_workflow,
            status: operation.status,
            workspace: operation.workspace,
            subject: operation.subject,
            check_mode: operation.check_mode,
            requested_by: operation.requested_by,
            retry_of: operation.retry_of.map(|id| id.0),
            parent_id: operation.parent_id.map(|id| id.0),
            node: operation.node,
            created_at: shown(operation.inserted_at),
            updated_at: shown(operation.updated_at),
            started_at: shown_if(operation.started_at),
            finished_at: shown_if(operation.finished_at),
            progress: Progress { done, total },
            steps: detail.steps.into_iter().map(|step| Step { name: step.name, state: step.state.word() }).collect(),
            phases: phases.collect(),
            waiting: detail.waiting,
            result: document(operation.result),
            error: operation.error,
        }
    }
}

/// Which part of a log.
#[derive(Debug, Deserialize)]
pub struct LogQuery {
    /// First byte.
    pub offset: i64,
    /// Bytes at the most.
    pub limit: usize,
}

/// A piece of a log.
#[derive(Debug, Serialize)]
pub struct Piece {
    /// Bytes before it.
    pub offset: i64,
    /// Where to read on.
    pub next_offset: i64,
    /// The text.
    pub text: String,
}
