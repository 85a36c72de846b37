//! Servers: our hosts.

use std::collections::BTreeMap;

use reeve_domain::host::access::Access;
use reeve_domain::host::create::{Adopt, Create, Secrets};
use reeve_types::host::{Host, HostFilter, HostState};
use reeve_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};

use super::shown;

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    /// Of this workspace.
    pub workspace: Option<String>,
    status: Option<String>,
    provider: Option<String>,
}

impl Query {
    /// All but the workspace.
    pub fn filter(&self) -> HostFilter {
        let state = self.status.as_deref().and_then(HostState::parse);
        HostFilter { workspace_id: None, state, provider: self.provider.clone() }
    }
}

/// POST /v1/servers/create
#[derive(Debug, Deserialize)]
pub struct CreateServer {
    workspace: String,
    provider: Option<String>,
    plan: Option<String>,
    hostname: String,
    zone: Option<String>,
    check_mode: bool,
    tags: Vec<String>,
    image: Option<String>,
    disk_gb: Option<u32>,
    labels: BTreeMap<String, String>,
    enroll: bool,
    delete_lock: bool,
    preserve_on_failure: bool,
    address: Option<String>,
    ssh_port: Option<u16>,
    ssh_user: Option<String>,
    ssh_private_key: Option<Secret>,
}

impl CreateServer {
    /// What is asked for, and its secret part.
    ///
    /// # Errors
    /// Internal when that cannot be written.
    pub fn split(self) -> Result<(Create, Option<Secret>)> {
        let secrets = match self.ssh_private_key {
            None => None,
            Some(key) => {
                let secrets = Secrets { private_key: Some(key.expose().to_owned()) };
                Some(Secret::new(serde_json::to_string(&secrets).map_err(Error::internal)?))
            }
        };
        let adopt = self.address.map(|address| Adopt { address, port: self.ssh_port, user: self.ssh_user });
        let create = Create {
            workspace: self.workspace,
            hostname: self.hostname,
            provider: self.provider,
            plan: self.plan,
            zone: self.zone,
            image: self.image,
            disk_gb: self.disk_gb,
            tags: self.tags,
            labels: self.labels,
            check_mode: self.check_mode,
            enroll: self.enroll,
            delete_lock: self.delete_lock,
            preserve_on_failure: self.preserve_on_failure,
            adopt,
        };
        Ok((create, secrets))
    }
}

/// DELETE /v1/servers/{id}
#[derive(Debug, Deserialize)]
pub struct DeleteServer {
    /// The workspace it is expected in.
    pub workspace: Option<String>,
    /// The path's id once more.
    pub server_id: Option<String>,
    /// Past every reservation.
    pub force: bool,
    /// Nothing is deleted.
    pub check_mode: bool,
}

/// A server: eight keys.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    hostname: String,
    provider: String,
    plan: String,
    zone: String,
    ip_address: Option<String>,
    status: HostState,
    created_at: String,
}

impl From<Host> for View {
    fn from(host: Host) -> Self {
        Self {
            id: host.handle,
            hostname: host.hostname,
            provider: host.provider,
            plan: host.plan,
            zone: host.zone,
            ip_address: host.address,
            status: host.state,
            created_at: shown(host.inserted_at),
        }
    }
}

/// A server with everything known about it.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    server: View,
    updated_at: String,
    image: String,
    tags: Vec<String>,
    labels: BTreeMap<String, String>,
    ssh_user: String,
    ssh_port: u16,
    host_key: Option<String>,
    problem: Option<String>,
    provider_id: Option<String>,
    delete_lock: bool,
    node_id: Option<String>,
}

impl From<Host> for Detail {
    fn from(host: Host) -> Self {
        Self {
            updated_at: shown(host.updated_at),
            image: host.image.clone(),
            tags: host.tags.clone(),
            labels: host.labels.clone(),
            ssh_user: host.ssh_user.clone(),
            ssh_port: host.ssh_port,
            host_key: host.host_key.clone(),
            problem: host.problem.clone(),
            provider_id: host.cloud_ref.clone(),
            delete_lock: host.delete_lock,
            node_id: host.node_id.as_ref().map(|id| id.0.clone()),
            server: View::from(host),
        }
    }
}

/// POST /v1/servers/{id}/ssh
#[derive(Debug, Deserialize)]
pub struct OpenAccess {
    /// One line.
    pub public_key: String,
    /// For how long.
    pub ttl_seconds: u64,
}

/// How to log in.
#[derive(Debug, Serialize)]
pub struct AccessView {
    user: String,
    address: String,
    port: u16,
    host_key: String,
    expires_at: String,
}

impl From<Access> for AccessView {
    fn from(access: Access) -> Self {
        Self {
            user: access.user,
            address: access.address,
            port: access.port,
            host_key: access.host_key,
            expires_at: shown(access.expires_at),
        }
    }
}
