//! Executions.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_domain::execution::Cancelled;
use reeve_types::execution::{Execution, ExecutionFilter, ExecutionStatus};
use reeve_types::{ExecutionId, NodeId};
use serde::{Deserialize, Serialize};

use super::{Since, Until, numbers, period, prose, shown, shown_if};
use crate::ids;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    status: Option<String>,
    command_id: Option<String>,
    node_id: Option<String>,
    cluster_name: Option<String>,
    target_all: Option<bool>,
    has_cluster: Option<bool>,
    has_output: Option<bool>,
    output: Option<String>,
    exit_code: Option<i64>,
    exit_code__gte: Option<i64>,
    exit_code__lte: Option<i64>,
    sent_at__gte: Option<Since>,
    sent_at__lte: Option<Until>,
    completed_at__gte: Option<Since>,
    completed_at__lte: Option<Until>,
    cancelled_at__gte: Option<Since>,
    cancelled_at__lte: Option<Until>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

fn statuses(list: &str) -> Vec<ExecutionStatus> {
    list.split(',').filter_map(|word| ExecutionStatus::parse(word.trim())).collect()
}

impl From<Query> for ExecutionFilter {
    fn from(q: Query) -> Self {
        Self {
            command_ids: q.command_id.as_deref().map(ids::list).unwrap_or_default(),
            node_ids: q.node_id.as_deref().map(ids::list).unwrap_or_default(),
            cluster_name: prose(q.cluster_name),
            status: q.status.as_deref().map(statuses).unwrap_or_default(),
            exit_code: numbers(q.exit_code, q.exit_code__gte, q.exit_code__lte),
            has_cluster: q.has_cluster,
            has_output: q.has_output,
            output: prose(q.output),
            target_all: q.target_all,
            sent_at: period(q.sent_at__gte, q.sent_at__lte),
            completed_at: period(q.completed_at__gte, q.completed_at__lte),
            cancelled_at: period(q.cancelled_at__gte, q.cancelled_at__lte),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The query of the output.
#[derive(Debug, Deserialize)]
pub struct OutputQuery {
    /// First byte wanted.
    #[serde(default)]
    pub offset: i64,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    command_id: String,
    node_id: Option<NodeId>,
    cluster_name: Option<String>,
    command_text: String,
    timeout: Option<i64>,
    status: &'static str,
    exit_code: Option<i64>,
    output: Option<String>,
    target_all: bool,
    expired_at: Option<String>,
    sent_at: Option<String>,
    completed_at: Option<String>,
    cancelled_at: Option<String>,
    inserted_at: String,
    updated_at: String,
}

impl From<Execution> for View {
    fn from(e: Execution) -> Self {
        Self {
            id: e.id.0,
            command_id: e.command_id.0,
            node_id: e.node_id,
            cluster_name: e.cluster_name,
            command_text: e.command_text,
            timeout: e.timeout_ms,
            status: e.status.word(),
            exit_code: e.exit_code,
            output: e.output,
            target_all: e.target_all,
            expired_at: shown_if(e.expired_at),
            sent_at: shown_if(e.sent_at),
            completed_at: shown_if(e.completed_at),
            cancelled_at: shown_if(e.cancelled_at),
            inserted_at: shown(e.inserted_at),
            updated_at: shown(e.updated_at),
        }
    }
}

/// What came of a cancellation.
#[derive(Debug, Serialize)]
pub struct CancelView {
    result: &'static str,
}

impl From<Cancelled> for CancelView {
    fn from(cancelled: Cancelled) -> Self {
        let result = match cancelled {
            Cancelled::AtOnce => "execution cancelled",
            Cancelled::Asked => "cancellation request sent",
        };
        Self { result }
    }
}

/// A piece of output in a stream.
#[derive(Debug, Serialize)]
pub struct Chunk {
    /// Whose it is.
    pub execution_id: ExecutionId,
    /// Its node.
    pub node_id: Option<NodeId>,
    /// Bytes before it.
    pub offset: i64,
    /// Bytes up to its end.
    pub next_offset: i64,
    /// The text.
    pub text: String,
}
