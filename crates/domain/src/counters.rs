//! What this server counts about itself, from its start. Each counter is kept for `admins/me/metrics` and told to the
//! process's recorder under its own name, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.value.fetch_add(more, Ordering::Relaxed);
        metrics::counter!(self.name).increment(more);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// What it is called in `/metrics`.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

macro_rules! counters {
    ($($field:ident = $name:literal: $help:literal),* $(,)?) => {
        /// The counters of a server.
        #[derive(Debug)]
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)*
            /// Executions handed out by the last pass over those that waited.
            pub last_pass_handed_out: AtomicU64,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($field: Counter::new($name, $help),)* last_pass_handed_out: AtomicU64::new(0) }
            }
        }

        impl Counters {
            /// All of them.
            pub fn all(&self) -> Vec<&Counter> {
                vec![$(&self.$field),*]
            }
        }
    };
}

counters! {
    heartbeats = "reeve_agent_heartbeats_total": "Heartbeats of agents",
    samples = "reeve_node_samples_total": "Samples that nodes pushed",
    questions = "reeve_agent_questions_total": "Questions asked of connected agents",
    questions_unanswered = "reeve_agent_questions_unanswered_total": "Questions that got no answer",
    connections = "reeve_agent_connections_total": "Sessions that agents opened",
    disconnections = "reeve_agent_disconnections_total": "Sessions of agents that ended",
    commands = "reeve_commands_created_total": "Commands created",
    executions_created = "reeve_executions_created_total": "Executions created",
    executions_handed_out = "reeve_executions_handed_out_total": "Executions handed to connected agents",
    executions_ended = "reeve_executions_ended_total": "Executions whose outcome was stored",
    executions_pruned = "reeve_executions_pruned_total": "Old executions that were dropped",
    dispatches = "reeve_dispatch_passes_total": "Passes over executions that wait",
    expirations = "reeve_expire_passes_total": "Passes over commands that are overdue",
    weighings = "reeve_capacity_passes_total": "Comparisons of nodes with the servers' capacity",
    joins = "reeve_membership_joins_total": "Times this server took its place among the servers",
    ssh_verifications = "reeve_ssh_attempts_total": "SSH credentials that were checked",
    ssh_refusals = "reeve_ssh_refusals_total": "SSH credentials that were refused",
    self_updates = "reeve_self_updates_completed_total": "Self-update requests worked off",
    webhook_fan_outs = "reeve_webhook_fan_outs_total": "Events looked at for webhooks",
    webhook_delivered = "reeve_webhook_delivered_total": "Webhook attempts answered with 2xx",
    webhook_put_off = "reeve_webhook_put_off_total": "Webhook attempts that failed and are tried again",
    webhook_given_up = "reeve_webhook_given_up_total": "Webhook attempts that failed for good",
}

impl Counters {
    /// Makes the recorder know every counter, so that one that has not moved is 0 and not missing. Once the recorder is
    /// there.
    pub fn announce(&self) {
        for counter in self.all() {
            metrics::describe_counter!(counter.name, counter.help);
            metrics::counter!(counter.name).absolute(counter.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_end_in_total() {
        let counters = Counters::default();
        let names: std::collections::BTreeSet<_> = counters.all().iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), counters.all().len());
        assert!(names.iter().all(|name| name.starts_with("reeve_") && name.ends_with("_total")));
    }

    #[test]
    fn counters_grow() {
        let counters = Counters::default();
        counters.heartbeats.add(2);
        counters.heartbeats.add(3);
        assert_eq!((counters.heartbeats.get(), counters.samples.get()), (5, 0));
    }
}
