//! What this server counts about itself, from its start. Each counter is kept for `admins/me/metrics` and told to the
//! process's recorder under its own name, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    /// What tells it from others of the same name.
    label: Option<(&'static str, &'static str)>,
    help: &'static str,
    value: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str, label: Option<(&'static str, &'static str)>, help: &'static str) -> Self {
        Self { name, label, help, value: AtomicU64::new(0) }
    }

    fn recorded(&self) -> metrics::Counter {
        match self.label {
            None => metrics::counter!(self.name),
            Some((label, value)) => metrics::counter!(self.name, label => value),
        }
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.value.fetch_add(more, Ordering::Relaxed);
        self.recorded().increment(more);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// What it is called in `/metrics`, and the label that tells it from others of the same name.
    pub fn name(&self) -> (&'static str, Option<(&'static str, &'static str)>) {
        (self.name, self.label)
    }
}

macro_rules! counters {
    (@label) => { None };
    (@label $label:literal $value:literal) => { Some(($label, $value)) };
    ($($field:ident = $name:literal $([$label:literal = $value:literal])?: $help:literal),* $(,)?) => {
        /// The counters of a server.
        #[derive(Debug)]
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)*
            /// Executions handed out by the last pass over those that waited.
            pub last_pass_handed_out: AtomicU64,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($field: Counter::new($name, counters!(@label $($label $value)?), $help),)*
                    last_pass_handed_out: AtomicU64::new(0),
                }
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
    webhook_delivered = "reeve_webhook_deliveries_total" ["outcome" = "ok"]: "Webhook attempts by what came of them",
    webhook_put_off = "reeve_webhook_deliveries_total" ["outcome" = "recoverable"]: "Webhook attempts by what came of them",
    webhook_given_up = "reeve_webhook_deliveries_total" ["outcome" = "terminal"]: "Webhook attempts by what came of them",
}

impl Counters {
    /// Makes the recorder know every counter, so that one that has not moved is 0 and not missing. Once the recorder is
    /// there.
    pub fn announce(&self) {
        metrics::describe_counter!("reeve_agents_enrolled_total", "Nodes that were registered");
        metrics::describe_gauge!("reeve_agents_connected", "Agents connected to this server");
        metrics::describe_gauge!("reeve_nodes", "Nodes");
        metrics::describe_gauge!("reeve_jobs", "Unfinished jobs by kind and state");
        metrics::describe_gauge!("reeve_jobs_failed_last_day", "Jobs that failed within a day");
        metrics::describe_gauge!("reeve_jobs_oldest_waiting_seconds", "How long the first job in the queue is due");
        metrics::describe_counter!("reeve_recurring_turns_total", "Turns of what recurs");
        metrics::describe_counter!("reeve_recurring_failures_total", "Turns of what recurs that failed");
        metrics::describe_gauge!("reeve_recurring_last_success_age_seconds", "Time since the last good turn");
        metrics::describe_counter!("reeve_ssh_verifications_total", "SSH credentials checked, by method and result");
        metrics::describe_counter!("reeve_job_runs_ended_total", "Runs of jobs by kind and state");
        for counter in self.all() {
            metrics::describe_counter!(counter.name, counter.help);
            counter.recorded().absolute(counter.get());
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
        assert!(names.iter().all(|(name, _)| name.starts_with("reeve_") && name.ends_with("_total")));
    }

    #[test]
    fn counters_grow() {
        let counters = Counters::default();
        counters.heartbeats.add(2);
        counters.heartbeats.add(3);
        assert_eq!((counters.heartbeats.get(), counters.samples.get()), (5, 0));
    }
}
