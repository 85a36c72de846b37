//! The URL table of the edge surface.

use std::sync::Arc;

use http::Method;
use reeve_domain::App;
use reeve_http_kit::surface::Kit;
use reeve_http_kit::{Access, Contract, Mounted, Surface};
use reeve_types::{Error, Permission, Result};

use crate::envelope::EdgeEnvelope;
use crate::{
    admins, aliases, clusters, commands, enrollment_keys, event_types, executions, node_metrics, nodes, self_updates,
    ssh_public_keys, ssh_usernames, streams, webhooks,
};

/// The contract, as text.
pub const CONTRACT: &str = include_str!("../../../compat/edge/openapi.yaml");

/// The surface, ready to be put on a listener.
///
/// # Errors
/// Internal when the table and the contract differ.
#[rustfmt::skip]
pub fn surface(app: Arc<App>, kit: Kit) -> Result<Mounted> {
    use Permission as P;
    let contract = Contract::parse(CONTRACT).map_err(Error::internal)?;
    let need = Access::Require;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    Surface::new("edge", Arc::new(contract), Arc::new(EdgeEnvelope), app, kit)
        .route(get.clone(), "/api/v1/admins/me", "admins.me", need(P::AdminsRead), admins::me)
        .route(get.clone(), "/api/v1/admins/my_admin_cluster", "admins.my_admin_cluster", need(P::AdminsRead), admins::my_admin_cluster)
        .route(get.clone(), "/api/v1/admins/admin_clusters", "admins.admin_clusters", need(P::AdminsRead), admins::admin_clusters)
        .route(get.clone(), "/api/v1/admins/edge_clusters", "admins.edge_clusters", need(P::AdminsRead), admins::edge_clusters)
        .route(get.clone(), "/api/v1/admins/orphaned_clusters", "admins.orphaned_clusters", need(P::AdminsRead), admins::orphaned_clusters)
        .route(post.clone(), "/api/v1/clusters", "clusters.create", need(P::ClustersWrite), clusters::create)
        .route(get.clone(), "/api/v1/clusters", "clusters.list", need(P::ClustersRead), clusters::list)
        .route(get.clone(), "/api/v1/clusters/{name}", "clusters.get", need(P::ClustersRead), clusters::get)
        .route(patch.clone(), "/api/v1/clusters/{name}", "clusters.update", need(P::ClustersWrite), clusters::update)
        .route(delete.clone(), "/api/v1/clusters/{name}", "clusters.delete", need(P::ClustersWrite), clusters::delete)
        .route(post.clone(), "/api/v1/clusters/default/enrollment_keys/public", "enrollment_keys.create_public", Access::Public, enrollment_keys::create_public)
        .route(post.clone(), "/api/v1/clusters/default/enrollment_keys", "enrollment_keys.create_default", need(P::EnrollmentKeysWrite), enrollment_keys::create_default)
        .route(post.clone(), "/api/v1/clusters/{cluster_name}/enrollment_keys", "enrollment_keys.create", need(P::EnrollmentKeysWrite), enrollment_keys::create)
        .route(get.clone(), "/api/v1/enrollment_keys", "enrollment_keys.list", need(P::EnrollmentKeysRead), enrollment_keys::list)
        .route(get.clone(), "/api/v1/enrollment_keys/{id}", "enrollment_keys.get", need(P::EnrollmentKeysRead), enrollment_keys::get)
        .route(patch.clone(), "/api/v1/enrollment_keys/{id}", "enrollment_keys.update", need(P::EnrollmentKeysWrite), enrollment_keys::update)
        .route(delete.clone(), "/api/v1/enrollment_keys/{id}", "enrollment_keys.delete", need(P::EnrollmentKeysWrite), enrollment_keys::delete)
        .route(get.clone(), "/api/v1/nodes", "nodes.list", need(P::NodesRead), nodes::list)
        .route(get.clone(), "/api/v1/nodes/{id}", "nodes.get", need(P::NodesRead), nodes::get)
        .route(delete.clone(), "/api/v1/nodes/{id}", "nodes.delete", need(P::NodesWrite), nodes::delete)
        .route(patch.clone(), "/api/v1/nodes/{id}/change_cluster", "nodes.change_cluster", need(P::NodesWrite), nodes::change_cluster)
        .route(patch.clone(), "/api/v1/nodes/{id}/labels", "nodes.label", need(P::NodesWrite), nodes::label)
        .route(post.clone(), "/api/v1/nodes/{node_id}/aliases", "aliases.create", need(P::AliasesWrite), aliases::create)
        .route(get.clone(), "/api/v1/aliases", "aliases.list", need(P::AliasesRead), aliases::list)
        .route(get.clone(), "/api/v1/aliases/{id}", "aliases.get", need(P::AliasesRead), aliases::get)
        .route(delete.clone(), "/api/v1/aliases/{id}", "aliases.delete", need(P::AliasesWrite), aliases::delete)
        .route(post.clone(), "/api/v1/nodes/{node_id}/ssh_usernames", "ssh_usernames.create", need(P::SshWrite), ssh_usernames::create)
        .route(post.clone(), "/api/v1/nodes/{node_id}/ssh_usernames/verify", "ssh_usernames.verify", need(P::SshWrite), ssh_usernames::verify)
        .route(get.clone(), "/api/v1/ssh_usernames", "ssh_usernames.list", need(P::SshRead), ssh_usernames::list)
        .route(get.clone(), "/api/v1/ssh_usernames/{id}", "ssh_usernames.get", need(P::SshRead), ssh_usernames::get)
        .route(delete.clone(), "/api/v1/ssh_usernames/{id}", "ssh_usernames.delete", need(P::SshWrite), ssh_usernames::delete)
        .route(post.clone(), "/api/v1/ssh_usernames/{ssh_username_id}/ssh_public_keys", "ssh_public_keys.create", need(P::SshWrite), ssh_public_keys::create)
        .route(get.clone(), "/api/v1/ssh_public_keys", "ssh_public_keys.list", need(P::SshRead), ssh_public_keys::list)
        .route(get.clone(), "/api/v1/ssh_public_keys/{id}", "ssh_public_keys.get", need(P::SshRead), ssh_public_keys::get)
        .route(delete.clone(), "/api/v1/ssh_public_keys/{id}", "ssh_public_keys.delete", need(P::SshWrite), ssh_public_keys::delete)
        .route(post.clone(), "/api/v1/self_update_requests", "self_update_requests.create", need(P::SelfUpdatesWrite), self_updates::create)
        .route(get.clone(), "/api/v1/self_update_requests", "self_update_requests.list", need(P::SelfUpdatesRead), self_updates::list)
        .route(get.clone(), "/api/v1/self_update_requests/{id}", "self_update_requests.get", need(P::SelfUpdatesRead), self_updates::get)
        .route(delete.clone(), "/api/v1/self_update_requests/{id}", "self_update_requests.delete", need(P::SelfUpdatesWrite), self_updates::delete)
        .route(get.clone(), "/api/v1/self_update_requests/{id}/nodes", "self_update_requests.nodes", need(P::SelfUpdatesRead), self_updates::nodes)
        .route(post.clone(), "/api/v1/self_update_requests/{id}/rollout/pause", "self_update_requests.rollout.pause", need(P::SelfUpdatesWrite), self_updates::pause)
        .route(post.clone(), "/api/v1/self_update_requests/{id}/rollout/resume", "self_update_requests.rollout.resume", need(P::SelfUpdatesWrite), self_updates::resume)
        .route(post.clone(), "/api/v1/self_update_requests/{id}/rollout/abort", "self_update_requests.rollout.abort", need(P::SelfUpdatesWrite), self_updates::abort)
        .route(post.clone(), "/api/v1/commands", "commands.create", need(P::CommandsRun), commands::create)
        .route(get.clone(), "/api/v1/commands", "commands.list", need(P::CommandsRead), commands::list)
        .route(get.clone(), "/api/v1/commands/{id}", "commands.get", need(P::CommandsRead), commands::get)
        .route(delete.clone(), "/api/v1/commands/{id}", "commands.delete", need(P::CommandsRun), commands::delete)
        .route(get.clone(), "/api/v1/commands/{id}/summary", "commands.summary", need(P::CommandsRead), commands::summary)
        .route(get.clone(), "/api/v1/commands/{id}/stream", "commands.stream", need(P::CommandsRead), streams::command)
        .route(post.clone(), "/api/v1/commands/{id}/cancel", "commands.cancel", need(P::CommandsRun), commands::cancel)
        .route(post.clone(), "/api/v1/commands/{id}/rollout/pause", "commands.rollout.pause", need(P::CommandsRun), commands::pause)
        .route(post.clone(), "/api/v1/commands/{id}/rollout/resume", "commands.rollout.resume", need(P::CommandsRun), commands::resume)
        .route(post.clone(), "/api/v1/commands/{id}/rollout/abort", "commands.rollout.abort", need(P::CommandsRun), commands::abort)
        .route(get.clone(), "/api/v1/command_executions", "command_executions.list", need(P::CommandsRead), executions::list)
        .route(get.clone(), "/api/v1/command_executions/{id}", "command_executions.get", need(P::CommandsRead), executions::get)
        .route(delete.clone(), "/api/v1/command_executions/{id}", "command_executions.delete", need(P::CommandsRun), executions::delete)
        .route(patch.clone(), "/api/v1/command_executions/{id}/cancel", "command_executions.cancel", need(P::CommandsRun), executions::cancel)
        .route(get.clone(), "/api/v1/command_executions/{id}/output", "command_executions.output", need(P::CommandsRead), executions::output)
        .route(get.clone(), "/api/v1/command_executions/{id}/stream", "command_executions.stream", need(P::CommandsRead), streams::execution)
        .route(get.clone(), "/api/v1/admins/me/metrics", "admins.metrics", need(P::MetricsRead), admins::metrics)
        .route(get.clone(), "/api/v1/admins/me/metrics/raw", "admins.metrics_raw", need(P::MetricsRead), admins::metrics_raw)
        .route(get.clone(), "/api/v1/nodes/metrics", "node_metrics.list", need(P::MetricsRead), node_metrics::list)
        .route(get.clone(), "/api/v1/nodes/metrics/host/discovery", "node_metrics.discover_host", need(P::MetricsRead), node_metrics::discover_host)
        .route(get.clone(), "/api/v1/nodes/metrics/agent/discovery", "node_metrics.discover_agent", need(P::MetricsRead), node_metrics::discover_agent)
        .route(get.clone(), "/api/v1/nodes/metrics/wireguard/discovery", "node_metrics.discover_wireguard", need(P::MetricsRead), node_metrics::discover_wireguard)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics", "node_metrics.unified", need(P::MetricsRead), node_metrics::unified)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics/host", "node_metrics.host", need(P::MetricsRead), node_metrics::host)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics/agent", "node_metrics.agent", need(P::MetricsRead), node_metrics::agent)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics/host/raw", "node_metrics.host_raw", need(P::MetricsRead), node_metrics::host_raw)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics/agent/raw", "node_metrics.agent_raw", need(P::MetricsRead), node_metrics::agent_raw)
        .route(get.clone(), "/api/v1/nodes/{node_id}/metrics/wireguard/raw", "node_metrics.wireguard_raw", need(P::MetricsRead), node_metrics::wireguard_raw)
        .route(post.clone(), "/api/v1/webhooks", "webhooks.create", need(P::WebhooksWrite), webhooks::create)
        .route(get.clone(), "/api/v1/webhooks", "webhooks.list", need(P::WebhooksRead), webhooks::list)
        .route(get.clone(), "/api/v1/webhooks/{id}", "webhooks.get", need(P::WebhooksRead), webhooks::get)
        .route(patch, "/api/v1/webhooks/{id}", "webhooks.update", need(P::WebhooksWrite), webhooks::update)
        .route(delete, "/api/v1/webhooks/{id}", "webhooks.delete", need(P::WebhooksWrite), webhooks::delete)
        .route(post.clone(), "/api/v1/webhooks/{id}/pause", "webhooks.pause", need(P::WebhooksWrite), webhooks::pause)
        .route(post.clone(), "/api/v1/webhooks/{id}/resume", "webhooks.resume", need(P::WebhooksWrite), webhooks::resume)
        .route(post.clone(), "/api/v1/webhooks/{id}/test", "webhooks.test", need(P::WebhooksWrite), webhooks::test)
        .route(post.clone(), "/api/v1/webhooks/{id}/redeliver", "webhooks.redeliver", need(P::WebhooksWrite), webhooks::redeliver)
        .route(get.clone(), "/api/v1/webhooks/{id}/deliveries", "webhooks.deliveries", need(P::WebhooksRead), webhooks::deliveries)
        .route(get.clone(), "/api/v1/webhook_deliveries", "webhook_deliveries.list", need(P::WebhooksRead), webhooks::all_deliveries)
        .route(get.clone(), "/api/v1/webhook_deliveries/{id}", "webhook_deliveries.get", need(P::WebhooksRead), webhooks::delivery)
        .route(post, "/api/v1/webhook_deliveries/{id}/redeliver", "webhook_deliveries.redeliver", need(P::WebhooksWrite), webhooks::redeliver_one)
        .route(get, "/api/v1/event_types", "event_types.list", need(P::EventsRead), event_types::list)
        .build()
}
