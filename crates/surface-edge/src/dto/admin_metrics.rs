//! A server's own numbers in the groups that the edge API has. What belongs to the original's runtime and not to ours is
//! null; what this server does not do yet is 0.

use std::sync::atomic::Ordering;

use reeve_domain::admin_metrics::{AdminMetrics, Tally};
use reeve_domain::counters::Counters;
use serde::Serialize;
use serde_json::{Value, json};

use super::amount::{human, mb};
use super::shown;
use crate::exposition::{Exposition, Kind, Labels};

#[derive(Serialize)]
struct Queue<'a> {
    queue: &'a str,
    available: i64,
    scheduled: i64,
    executing: i64,
    retryable: i64,
    completed: i64,
    discarded: i64,
    cancelled: i64,
}

impl<'a> From<&'a Tally> for Queue<'a> {
    fn from(tally: &'a Tally) -> Self {
        Self {
            queue: &tally.kind,
            available: tally.waiting,
            scheduled: tally.scheduled,
            executing: tally.running,
            retryable: tally.retrying,
            completed: tally.succeeded,
            discarded: tally.failed,
            cancelled: tally.cancelled,
        }
    }
}

/// The answer. A `Value`: its parts have nothing of their own to say.
pub fn view(me: &AdminMetrics, count: &Counters) -> Value {
    let process = me.process;
    let uptime_seconds = u64::try_from(me.uptime_ms / 1_000).unwrap_or_default();
    let delivered = [&count.webhook_delivered, &count.webhook_put_off, &count.webhook_given_up].map(|c| c.get());
    json!({
        "timestamp": shown(me.taken_at),
        "application": {
            "uptime_seconds": uptime_seconds,
            "uptime_human": human(uptime_seconds),
            "process_count": process.tasks,
            "port_count": process.open_files,
            "memory_total_bytes": process.resident_bytes,
            "memory_total_mb": process.resident_bytes.map(mb),
            "memory_code_bytes": process.text_bytes,
            "memory_code_mb": process.text_bytes.map(mb),
            "memory_processes_bytes": null, "memory_processes_mb": null,
            "memory_ets_bytes": null, "memory_ets_mb": null,
            "memory_binary_bytes": null, "memory_binary_mb": null,
            "memory_atom_bytes": null, "memory_atom_mb": null,
            "atom_count": null, "ets_count": null,
        },
        "commands": {
            "delivery_total": count.dispatches.get(),
            "delivery_delivered_count": count.last_pass_handed_out.load(Ordering::Relaxed),
            "execution_delivered_total": count.executions_handed_out.get(),
            "execution_completed_total": count.executions_ended.get(),
            "expiration_total": count.expirations.get(),
        },
        "discovery": {"scans_total": 0, "dns_resolutions_total": 0, "peer_connections_total": 0},
        "event_broker": {
            "enabled": false, "enqueues_total": 0,
            "publishes_total": 0, "publishes_ok_total": 0, "publishes_error_total": 0,
        },
        "gateways": {
            "active_count": me.agents,
            "connections_total": count.connections.get() + count.disconnections.get(),
            "scrapes_total": count.questions.get(),
        },
        "membership": {"complete_total": count.joins.get(), "steps_completed_total": count.joins.get()},
        "metadata": {
            "assigned_clusters": me.clusters,
            "orphaned_clusters": me.orphans,
            "degraded": me.degraded,
            "recomputations_total": count.weighings.get(),
        },
        "nodes": {"health_checks_total": count.heartbeats.get()},
        "oban_queues": me.jobs.iter().map(Queue::from).collect::<Vec<_>>(),
        "proxy": {
            "connections_total": 0, "connections_success_total": 0, "connections_failure_total": 0,
            "connections_auth_failed_total": 0, "auth_failures_total": 0,
            "bytes_up_total": 0, "bytes_up_mb": 0.0, "bytes_down_total": 0, "bytes_down_mb": 0.0,
            "tunnels_closed_total": 0, "tunnels_closed_normal_total": 0,
            "tunnels_closed_deadline_total": 0, "tunnels_closed_drain_timeout_total": 0,
        },
        "quantum": {"jobs_executed_total": me.passes, "jobs_exceptions_total": me.failed_passes},
        "reconciliation": {"total": 0, "errors": 0},
        "self_updates": {"completed_total": count.self_updates.get()},
        "ssh": {
            "verifications_total": count.ssh_verifications.get(),
            "verifications_failed": count.ssh_refusals.get(),
        },
        "vpn": {"zombie_cleanup_total": 0, "zombie_cleanup_deleted_count": 0},
        "webhook": {
            "fan_outs_total": count.webhook_fan_outs.get(),
            "deliveries_total": delivered.iter().sum::<u64>(),
            "deliveries_ok_total": delivered[0],
            "deliveries_recoverable_total": delivered[1],
            "deliveries_terminal_total": delivered[2],
        },
    })
}

/// The same as text for Prometheus.
pub fn exposition(me: &AdminMetrics, count: &Counters) -> Exposition {
    let mut text = Exposition::default();
    let uptime = u64::try_from(me.uptime_ms).ok();
    text.gauge("edge_admin_prom_ex_application_uptime_milliseconds_count", "Time since the start", uptime);
    text.gauge("edge_admin_prom_ex_beam_stats_process_count", "Asynchronous tasks", me.process.tasks);
    text.gauge("edge_admin_prom_ex_beam_stats_port_count", "Open files and sockets", me.process.open_files);
    text.gauge("edge_admin_prom_ex_beam_memory_allocated_bytes", "Memory in RAM", me.process.resident_bytes);
    text.gauge("edge_admin_gateway_active", "Agents connected", u64::try_from(me.agents).ok());
    text.gauge("edge_admin_metadata_degraded", "1 with more nodes than capacity", Some(u64::from(me.degraded)));
    text.gauge("edge_admin_metadata_assigned_clusters", "Clusters this server looks after", Some(me.clusters));
    text.gauge("edge_admin_metadata_orphaned_clusters", "Clusters that nobody looks after", Some(me.orphans));
    for (name, help, value) in [
        ("edge_admin_commands_created_total", "Commands created", count.commands.get()),
        ("edge_admin_commands_delivered_total", "Executions handed to agents", count.executions_handed_out.get()),
        ("edge_admin_commands_completed_total", "Executions ended", count.executions_ended.get()),
        ("edge_admin_commands_delivery_total", "Passes over executions that wait", count.dispatches.get()),
        ("edge_admin_commands_expiration_total", "Passes over overdue commands", count.expirations.get()),
        ("edge_admin_commands_pruning_total", "Executions dropped", count.executions_pruned.get()),
        ("edge_admin_gateway_connect_total", "Sessions that agents opened", count.connections.get()),
        ("edge_admin_gateway_disconnect_total", "Sessions of agents that ended", count.disconnections.get()),
        ("edge_admin_gateway_scrape_total", "Questions asked of agents", count.questions.get()),
        ("edge_admin_membership_complete_total", "Times this server joined the others", count.joins.get()),
        ("edge_admin_metadata_recomputation_total", "Comparisons with capacity", count.weighings.get()),
        ("edge_admin_nodes_health_check_total", "Health reports of nodes", count.heartbeats.get()),
        ("edge_admin_quantum_job_total", "Passes of background loops", me.passes),
        ("edge_admin_quantum_job_exception_total", "Passes that failed", me.failed_passes),
        ("edge_admin_self_updates_completed_total", "Self-update requests worked off", count.self_updates.get()),
        ("edge_admin_ssh_verification_total", "SSH credentials checked", count.ssh_verifications.get()),
        ("edge_admin_ssh_verification_failed_total", "SSH credentials refused", count.ssh_refusals.get()),
        ("edge_admin_webhook_fan_out_total", "Events looked at for webhooks", count.webhook_fan_outs.get()),
    ] {
        text.counter(name, help, value);
    }
    let deliveries = [
        ("ok", &count.webhook_delivered),
        ("recoverable", &count.webhook_put_off),
        ("terminal", &count.webhook_given_up),
    ];
    let deliveries = deliveries.map(|(outcome, n)| (Labels::of(&[("outcome", outcome)]), n.get()));
    text.family("edge_admin_webhook_delivery_total", Kind::Counter, "Webhook attempts", deliveries);
    let jobs = me.jobs.iter().flat_map(|tally| {
        let states = [
            ("available", tally.waiting),
            ("scheduled", tally.scheduled),
            ("executing", tally.running),
            ("retryable", tally.retrying),
            ("completed", tally.succeeded),
            ("discarded", tally.failed),
            ("cancelled", tally.cancelled),
        ];
        states.map(|(state, n)| {
            let labels = Labels::of(&[("queue", &tally.kind), ("state", state)]);
            (labels, u64::try_from(n).unwrap_or_default())
        })
    });
    text.family("edge_admin_prom_ex_oban_queue_length_count", Kind::Gauge, "Jobs by kind and state", jobs);
    text
}
