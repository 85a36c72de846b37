//! The URL table of the console's own API.

use std::sync::Arc;

use http::Method;
use reeve_domain::App;
use reeve_http_kit::surface::Kit;
use reeve_http_kit::{Access, Contract, Mounted, Surface};
use reeve_types::{Error, Permission, Result};

use crate::envelope::ConsoleEnvelope;
use crate::server::ServerInfo;
use crate::{audit, auth, backups, events, jobs, seal, server, tokens, users};

/// The contract, as text.
pub const CONTRACT: &str = include_str!("../../../compat/console/openapi.yaml");

/// The surface, ready to be put on a listener.
///
/// # Errors
/// Internal when the table and the contract differ.
#[rustfmt::skip]
pub fn surface(app: Arc<App>, kit: Kit, info: Arc<ServerInfo>) -> Result<Mounted> {
    use Permission as P;
    let contract = Contract::parse(CONTRACT).map_err(Error::internal)?;
    let need = Access::Require;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    Surface::new("console", Arc::new(contract), Arc::new(ConsoleEnvelope), app, kit)
        .route(post.clone(), "/api/auth/login", "auth.login", Access::Public, auth::login)
        .route(post.clone(), "/api/auth/refresh", "auth.refresh", Access::Public, auth::refresh)
        .route(post.clone(), "/api/auth/logout", "auth.logout", Access::Public, auth::logout)
        // Any credential will do, so the domain asks for one rather than the table for a permission.
        .route(get.clone(), "/api/me", "me.get", Access::Public, auth::me)
        .route(get.clone(), "/api/users", "users.list", need(P::UsersRead), users::list)
        .route(post.clone(), "/api/users", "users.create", need(P::UsersWrite), users::create)
        .route(get.clone(), "/api/users/{id}", "users.get", need(P::UsersRead), users::get)
        .route(patch, "/api/users/{id}", "users.update", need(P::UsersWrite), users::update)
        .route(delete.clone(), "/api/users/{id}", "users.delete", need(P::UsersWrite), users::delete)
        .route(post.clone(), "/api/users/{id}/password", "users.set_password", need(P::SelfManage), users::set_password)
        .route(get.clone(), "/api/tokens", "tokens.list", need(P::SelfManage), tokens::list)
        .route(post.clone(), "/api/tokens", "tokens.create", need(P::SelfManage), tokens::create)
        .route(delete.clone(), "/api/tokens/{id}", "tokens.delete", need(P::SelfManage), tokens::delete)
        .route(get.clone(), "/api/audit", "audit.list", need(P::AuditRead), audit::list)
        .route(get.clone(), "/api/audit/verify", "audit.verify", need(P::AuditRead), audit::verify)
        .route(get.clone(), "/api/events", "events.list", need(P::EventsRead), events::list)
        .route(get.clone(), "/api/servers", "servers.list", need(P::ServerRead), server::list)
        .route(get.clone(), "/api/jobs", "jobs.list", need(P::JobsRead), jobs::list)
        .route(get.clone(), "/api/jobs/{id}", "jobs.get", need(P::JobsRead), jobs::get)
        .route(post.clone(), "/api/jobs/{id}/cancel", "jobs.cancel", need(P::JobsWrite), jobs::cancel)
        .route(post.clone(), "/api/jobs/{id}/retry", "jobs.retry", need(P::JobsWrite), jobs::retry)
        .route(get.clone(), "/api/jobs/{id}/output", "jobs.output", need(P::JobsRead), jobs::output)
        .route(get.clone(), "/api/jobs/{id}/stream", "jobs.stream", need(P::JobsRead), jobs::stream)
        .route(get.clone(), "/api/schedules", "schedules.list", need(P::JobsRead), jobs::schedules)
        .route(post.clone(), "/api/schedules/{name}/poke", "schedules.poke", need(P::JobsWrite), jobs::poke_schedule)
        .route(get.clone(), "/api/reconcilers", "reconcilers.list", need(P::JobsRead), jobs::reconcilers)
        .route(post.clone(), "/api/reconcilers/{name}/poke", "reconcilers.poke", need(P::JobsWrite), jobs::poke_reconciler)
        .route(get.clone(), "/api/seal", "seal.get", need(P::ServerRead), seal::get)
        .route(post.clone(), "/api/seal/rotations", "seal.rotate", need(P::ServerWrite), seal::rotate)
        .route(get.clone(), "/api/backups", "backups.list", need(P::ServerRead), backups::list)
        .route(post.clone(), "/api/backups", "backups.create", need(P::ServerWrite), backups::create)
        .route(post, "/api/backups/download", "backups.download", need(P::ServerWrite), backups::download)
        .route(get.clone(), "/api/backups/schedule", "backups.schedule.get", need(P::ServerRead), backups::status)
        .route(Method::PUT, "/api/backups/schedule", "backups.schedule.set", need(P::ServerWrite), backups::set)
        .route(delete, "/api/backups/schedule", "backups.schedule.delete", need(P::ServerWrite), backups::unset)
        .route(get.clone(), "/api/doctor", "doctor.run", need(P::ServerRead), server::doctor(info.clone()))
        .route(get, "/api/server", "server.get", need(P::ServerRead), server::get(info))
        .build()
}
