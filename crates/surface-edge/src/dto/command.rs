//! Commands.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use std::collections::BTreeMap;

use reeve_domain::command;
use reeve_types::Result;
use reeve_types::command::{CommandFilter, CommandSummary};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::rollout::{Plan, RolloutView};
use super::targeting::Targeting;
use super::{Moment, Since, Until, numbers, period, prose, shown, shown_if};

/// POST.
#[derive(Debug, Deserialize)]
pub struct Create {
    command_text: String,
    targeting: Targeting,
    timeout: Option<i64>,
    expired_at: Option<Moment>,
    rollout: Option<Plan>,
}

impl Create {
    /// As the domain has it; `document` is the targeting as it was asked for.
    ///
    /// # Errors
    /// Invalid for a selector or batch size that cannot be read.
    pub fn into_domain(self, document: Value) -> Result<command::Create> {
        Ok(command::Create {
            command_text: self.command_text,
            timeout_ms: self.timeout,
            expired_at: self.expired_at.map(|at| at.0),
            targeting: self.targeting.into_domain()?,
            targeting_document: document,
            rollout: self.rollout.map(Plan::into_domain).transpose()?,
        })
    }
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    command_text: Option<String>,
    has_timeout: Option<bool>,
    has_expired_at: Option<bool>,
    timeout__gte: Option<i64>,
    timeout__lte: Option<i64>,
    expired_at__gte: Option<Since>,
    expired_at__lte: Option<Until>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for CommandFilter {
    fn from(q: Query) -> Self {
        Self {
            command_text: prose(q.command_text),
            has_timeout: q.has_timeout,
            timeout_ms: numbers(None, q.timeout__gte, q.timeout__lte),
            has_expired_at: q.has_expired_at,
            expired_at: period(q.expired_at__gte, q.expired_at__lte),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    command_text: String,
    targeting: Option<Box<RawValue>>,
    timeout: Option<i64>,
    expired_at: Option<String>,
    inserted_at: String,
    updated_at: String,
    rollout: Option<RolloutView>,
    created_by: String,
    summary: Summary,
}

impl From<command::View> for View {
    fn from(row: command::View) -> Self {
        let command = row.command;
        Self {
            id: command.id.0,
            command_text: command.command_text,
            targeting: RawValue::from_string(command.targeting).ok(),
            timeout: command.timeout_ms,
            expired_at: shown_if(command.expired_at),
            inserted_at: shown(command.inserted_at),
            updated_at: shown(command.updated_at),
            rollout: command.rollout.map(RolloutView::from),
            created_by: command.created_by,
            summary: row.summary.into(),
        }
    }
}

/// How the executions stand.
#[derive(Debug, Serialize)]
pub struct Summary {
    total: i64,
    pending: i64,
    sent: i64,
    running: i64,
    completed: i64,
    succeeded: i64,
    failed: i64,
    timed_out: i64,
    cancelled: i64,
    expired: i64,
    exit_codes: BTreeMap<i64, i64>,
}

impl From<CommandSummary> for Summary {
    fn from(s: CommandSummary) -> Self {
        Self {
            total: s.total,
            pending: s.pending,
            sent: s.sent,
            running: s.running,
            completed: s.completed,
            succeeded: s.succeeded,
            failed: s.failed,
            timed_out: s.timed_out,
            cancelled: s.cancelled,
            expired: s.expired,
            exit_codes: s.exit_codes.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exit_codes_are_an_object_of_text() {
        let summary = CommandSummary { exit_codes: vec![(143, 2), (0, 1)], ..CommandSummary::default() };
        assert_eq!(json!(Summary::from(summary))["exit_codes"], json!({"0": 1, "143": 2}));
    }
}
