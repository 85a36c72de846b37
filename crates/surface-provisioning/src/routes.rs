//! The URL table of the provisioning surface.

use std::sync::Arc;

use http::Method;
use reeve_domain::App;
use reeve_http_kit::surface::Kit;
use reeve_http_kit::{Access, Contract, Mounted, Surface};
use reeve_types::{Error, Permission, Result};

use crate::envelope::ProvisioningEnvelope;
use crate::system::About;
use crate::{
    audit, auth, credentials, operations, plans, providers, servers, system, taskservs, workflows, workspaces,
};

/// The contract, as text.
pub const CONTRACT: &str = include_str!("../../../compat/provisioning/openapi.yaml");

/// The surface, ready to be put on a listener.
///
/// # Errors
/// Internal when the table and the contract differ.
#[rustfmt::skip]
pub fn surface(app: Arc<App>, kit: Kit, about: Arc<About>) -> Result<Mounted> {
    use Permission as P;
    let contract = Contract::parse(CONTRACT).map_err(Error::internal)?;
    let need = Access::Require;
    let (get, post, put, patch, delete) = (Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    Surface::new("provisioning", Arc::new(contract), Arc::new(ProvisioningEnvelope), app, kit)
        .route(post.clone(), "/v1/auth/login", "auth.login", Access::Public, auth::login)
        .route(post.clone(), "/v1/auth/refresh", "auth.refresh", Access::Public, auth::refresh)
        .route(post.clone(), "/v1/auth/logout", "auth.logout", Access::Public, auth::logout)
        .route(get.clone(), "/v1/auth/me", "auth.me", Access::Public, auth::me)
        .route(get.clone(), "/v1/servers", "servers.list", need(P::HostsRead), servers::list)
        .route(post.clone(), "/v1/servers/create", "servers.create", need(P::HostsCreate), servers::create)
        .route(get.clone(), "/v1/servers/{id}", "servers.get", need(P::HostsRead), servers::get)
        .route(delete.clone(), "/v1/servers/{id}", "servers.delete", need(P::HostsDelete), servers::delete)
        .route(get.clone(), "/v1/servers/{id}/status", "servers.status", need(P::HostsRead), servers::status)
        .route(post.clone(), "/v1/servers/{id}/start", "servers.start", need(P::HostsCreate), servers::start)
        .route(post.clone(), "/v1/servers/{id}/stop", "servers.stop", need(P::HostsCreate), servers::stop)
        .route(post.clone(), "/v1/servers/{id}/reboot", "servers.reboot", need(P::HostsCreate), servers::reboot)
        .route(post.clone(), "/v1/servers/{id}/ssh", "servers.ssh", need(P::HostsSsh), servers::ssh)
        .route(get.clone(), "/v1/providers", "providers.list", need(P::HostsRead), providers::list)
        .route(get.clone(), "/v1/providers/{provider}/plans", "providers.plans", need(P::HostsRead), providers::plans)
        .route(get.clone(), "/v1/providers/{provider}/zones", "providers.zones", need(P::HostsRead), providers::zones)
        .route(get.clone(), "/v1/providers/{provider}/images", "providers.images", need(P::HostsRead), providers::images)
        .route(get.clone(), "/v1/taskservs", "taskservs.list", need(P::TaskservsRead), taskservs::list)
        .route(get.clone(), "/v1/taskservs/catalogue", "taskservs.catalogue", need(P::TaskservsRead), taskservs::catalogue)
        .route(post.clone(), "/v1/taskservs/create", "taskservs.create", need(P::TaskservsCreate), taskservs::create)
        .route(get.clone(), "/v1/taskservs/{id}", "taskservs.get", need(P::TaskservsRead), taskservs::get)
        .route(delete.clone(), "/v1/taskservs/{id}", "taskservs.delete", need(P::TaskservsDelete), taskservs::delete)
        .route(post.clone(), "/v1/taskservs/{id}/upgrade", "taskservs.upgrade", need(P::TaskservsCreate), taskservs::upgrade)
        .route(get.clone(), "/v1/taskservs/{id}/health", "taskservs.health", need(P::TaskservsRead), taskservs::health)
        .route(get.clone(), "/v1/workflows", "workflows.list", need(P::WorkflowsRead), workflows::list)
        .route(post.clone(), "/v1/workflows/submit", "workflows.submit", need(P::WorkflowsSubmit), workflows::submit)
        .route(get.clone(), "/v1/workflows/{id}", "workflows.get", need(P::WorkflowsRead), workflows::get)
        .route(post.clone(), "/v1/workflows/{id}/cancel", "workflows.cancel", need(P::WorkflowsCancel), workflows::cancel)
        .route(get.clone(), "/v1/workflows/{id}/steps", "workflows.steps", need(P::WorkflowsRead), workflows::steps)
        .route(get.clone(), "/v1/operations", "operations.list", need(P::OperationsRead), operations::list)
        .route(get.clone(), "/v1/operations/{id}", "operations.get", need(P::OperationsRead), operations::get)
        .route(get.clone(), "/v1/operations/{id}/detail", "operations.detail", need(P::OperationsRead), operations::detail)
        .route(get.clone(), "/v1/operations/{id}/log", "operations.log", need(P::OperationsRead), operations::log)
        .route(get.clone(), "/v1/operations/{id}/stream", "operations.stream", need(P::OperationsRead), operations::stream)
        .route(post.clone(), "/v1/operations/{id}/cancel", "operations.cancel", need(P::OperationsCancel), operations::cancel)
        .route(post.clone(), "/v1/operations/{id}/retry", "operations.retry", need(P::OperationsCancel), operations::retry)
        .route(get.clone(), "/v1/plans", "plans.list", need(P::OperationsRead), plans::list)
        .route(get.clone(), "/v1/plans/{id}", "plans.get", need(P::OperationsRead), plans::get)
        .route(post.clone(), "/v1/plans/{id}/apply", "plans.apply", need(P::WorkflowsSubmit), plans::apply)
        .route(get.clone(), "/v1/workspaces", "workspaces.list", need(P::WorkspacesRead), workspaces::list)
        .route(post.clone(), "/v1/workspaces/create", "workspaces.create", need(P::WorkspacesCreate), workspaces::create)
        .route(get.clone(), "/v1/workspaces/{name}", "workspaces.get", need(P::WorkspacesRead), workspaces::get)
        .route(patch.clone(), "/v1/workspaces/{name}", "workspaces.update", need(P::WorkspacesCreate), workspaces::update)
        .route(delete.clone(), "/v1/workspaces/{name}", "workspaces.delete", need(P::WorkspacesCreate), workspaces::delete)
        .route(post.clone(), "/v1/workspaces/{name}/activate", "workspaces.activate", need(P::WorkspacesCreate), workspaces::activate)
        .route(get.clone(), "/v1/workspaces/{name}/key", "workspaces.key", need(P::WorkspacesRead), workspaces::key)
        .route(get.clone(), "/v1/workspaces/{name}/credentials", "credentials.list", need(P::WorkspacesRead), credentials::list)
        .route(put.clone(), "/v1/workspaces/{name}/credentials/{provider}", "credentials.put", need(P::WorkspacesCreate), credentials::put)
        .route(delete.clone(), "/v1/workspaces/{name}/credentials/{provider}", "credentials.delete", need(P::WorkspacesCreate), credentials::delete)
        .route(get.clone(), "/v1/audit", "audit.list", need(P::AuditRead), audit::list)
        .route(get.clone(), "/v1/metrics", "system.metrics", need(P::SystemMetrics), system::metrics(about.clone()))
        .route(get.clone(), "/health", "system.health", Access::Public, system::health(about.clone()))
        .route(get.clone(), "/ready", "system.ready", Access::Public, system::health(about.clone()))
        .build()
}
