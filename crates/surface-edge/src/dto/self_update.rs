//! Self-update requests.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use reeve_domain::self_update;
use reeve_types::Result;
use reeve_types::self_update::{
    SelfUpdateFilter, SelfUpdateProgress, SelfUpdateState, SelfUpdateStatus, SelfUpdateSummary, SelfUpdateTarget,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::rollout::{Plan, RolloutView};
use super::targeting::Targeting;
use super::{Since, Until, period, shown, shown_if};

/// POST.
#[derive(Debug, Deserialize)]
pub struct Create {
    targeting: Targeting,
    rollout: Option<Plan>,
}

impl Create {
    /// As the domain has it; `document` is the targeting as it was asked for.
    ///
    /// # Errors
    /// Invalid for a selector or batch size that cannot be read.
    pub fn into_domain(self, document: Value) -> Result<self_update::Create> {
        Ok(self_update::Create {
            targeting: self.targeting.into_domain()?,
            targeting_document: document,
            rollout: self.rollout.map(Plan::into_domain).transpose()?,
        })
    }
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    status: Option<String>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for SelfUpdateFilter {
    fn from(q: Query) -> Self {
        Self {
            status: words(q.status.as_deref(), SelfUpdateStatus::parse),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The filters of a list of nodes.
#[derive(Debug, Deserialize)]
pub struct NodesQuery {
    state: Option<String>,
}

impl NodesQuery {
    /// Any of these states; none is all.
    pub fn states(&self) -> Vec<SelfUpdateState> {
        words(self.state.as_deref(), SelfUpdateState::parse)
    }
}

fn words<T>(list: Option<&str>, parse: fn(&str) -> Option<T>) -> Vec<T> {
    list.into_iter().flat_map(|list| list.split(',')).filter_map(|word| parse(word.trim())).collect()
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    targeting: Option<Box<RawValue>>,
    status: &'static str,
    summary: Option<Summary>,
    inserted_at: String,
    updated_at: String,
    progress: Progress,
    rollout: Option<RolloutView>,
    created_by: String,
}

impl From<self_update::View> for View {
    fn from(view: self_update::View) -> Self {
        let request = view.request;
        Self {
            id: request.id.0,
            targeting: RawValue::from_string(request.targeting).ok(),
            status: request.status.word(),
            summary: request.summary.map(Summary::from),
            inserted_at: shown(request.inserted_at),
            updated_at: shown(request.updated_at),
            progress: view.progress.into(),
            rollout: request.rollout.map(RolloutView::from),
            created_by: request.created_by,
        }
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    total: i64,
    triggered: i64,
    failed: i64,
    cancelled: i64,
}

impl From<SelfUpdateSummary> for Summary {
    fn from(s: SelfUpdateSummary) -> Self {
        Self { total: s.total, triggered: s.triggered, failed: s.failed, cancelled: s.cancelled }
    }
}

#[derive(Debug, Serialize)]
struct Progress {
    total: i64,
    pending: i64,
    sent: i64,
    triggered: i64,
    failed: i64,
    cancelled: i64,
}

impl From<SelfUpdateProgress> for Progress {
    fn from(p: SelfUpdateProgress) -> Self {
        let SelfUpdateSummary { total, triggered, failed, cancelled } = p.ended;
        Self { total, pending: p.pending, sent: p.sent, triggered, failed, cancelled }
    }
}

/// One node of a request.
#[derive(Debug, Serialize)]
pub struct NodeView {
    node_id: Option<String>,
    batch: i64,
    state: &'static str,
    reason: Option<String>,
    sent_at: Option<String>,
    answered_at: Option<String>,
}

impl From<SelfUpdateTarget> for NodeView {
    fn from(target: SelfUpdateTarget) -> Self {
        Self {
            node_id: target.node_id.map(|id| id.0),
            // People count from 1.
            batch: target.batch + 1,
            state: target.state.word(),
            reason: target.reason,
            sent_at: shown_if(target.sent_at),
            answered_at: shown_if(target.answered_at),
        }
    }
}
