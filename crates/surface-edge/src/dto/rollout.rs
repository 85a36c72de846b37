//! Rollouts of commands and of self-update requests.

use reeve_types::rollout::{BatchSize, Rollout, RolloutPlan};
use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How something is to be rolled out.
#[derive(Debug, Deserialize)]
pub struct Plan {
    #[serde(default)]
    canary: i64,
    batch_size: Option<Value>,
    #[serde(default)]
    max_failures: i64,
}

impl Plan {
    /// As the domain has it.
    ///
    /// # Errors
    /// Invalid for a batch size that cannot be read.
    pub fn into_domain(self) -> Result<RolloutPlan> {
        let batch_size = match &self.batch_size {
            // Everything after the canary at once.
            None => Some(BatchSize::Percent(100)),
            Some(Value::String(text)) => BatchSize::parse(text),
            Some(number) => number.as_i64().filter(|n| *n >= 1).map(BatchSize::Nodes),
        };
        let batch_size = batch_size
            .ok_or_else(|| Error::invalid("rollout/batch_size", "is neither a number nor a share as in `10%`"))?;
        Ok(RolloutPlan { canary: self.canary, batch_size, max_failures: Some(self.max_failures) })
    }
}

/// Where a rollout stands.
#[derive(Debug, Serialize)]
pub struct RolloutView {
    state: &'static str,
    canary: i64,
    batch_size: Value,
    max_failures: i64,
    current_batch: i64,
    batches: i64,
    failures: i64,
}

impl From<Rollout> for RolloutView {
    fn from(r: Rollout) -> Self {
        Self {
            state: r.state.word(),
            canary: r.canary,
            batch_size: match r.batch_size {
                BatchSize::Nodes(n) => n.into(),
                share @ BatchSize::Percent(_) => share.to_string().into(),
            },
            max_failures: r.max_failures.unwrap_or(i64::MAX),
            // People count from 1; before the nodes are known there is no batch.
            current_batch: (r.current_batch + 1).min(r.batches),
            batches: r.batches,
            failures: r.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn batch_size(rollout: Value) -> Result<BatchSize> {
        serde_json::from_value::<Plan>(rollout).unwrap().into_domain().map(|plan| plan.batch_size)
    }

    #[test]
    fn batches_are_numbers_or_shares() {
        assert_eq!(batch_size(json!({})).unwrap(), BatchSize::Percent(100));
        assert_eq!(batch_size(json!({"batch_size": 3})).unwrap(), BatchSize::Nodes(3));
        assert_eq!(batch_size(json!({"batch_size": "25%"})).unwrap(), BatchSize::Percent(25));
        assert!(batch_size(json!({"batch_size": 0})).is_err());
    }
}
