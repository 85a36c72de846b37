//! This server as one of the servers on its store.

use reeve_store::server;
use reeve_types::{Actor, Permission, Result, ServerId, Timestamp};
use sha2::{Digest, Sha256};

use crate::{App, authz};

/// A server that was not seen for this long has gone.
const GONE_AFTER_MS: i64 = 60_000;

/// What a server tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The server.
    pub id: ServerId,
    /// `admin-<id>`.
    pub name: String,
    /// `admin-cluster-<suffix>`.
    pub cluster_name: String,
    /// Other servers that are alive on the same store.
    pub peers: i64,
    /// Most peers of a server.
    pub max_peers: i64,
    /// Nodes it has room for: the peers it may have less the servers among them.
    pub capacity: i64,
    /// Its name for clients that expect a distributed Erlang node.
    pub distribution_name: String,
    /// Its id as a network host: a UUID that follows from the server's id.
    pub host_id: String,
    /// Its name in the servers' network.
    pub host_name: String,
    /// When this was looked up.
    pub computed_at: Timestamp,
}

/// This server.
///
/// # Errors
/// As the store.
pub async fn me(app: &App, actor: &Actor) -> Result<Me> {
    authz::require(actor, Permission::AdminsRead)?;
    let now = app.now();
    let mut tx = app.store.read().await?;
    let alive = server::alive(&mut tx, now.plus_ms(-GONE_AFTER_MS)).await?;
    let peers = alive.iter().filter(|id| **id != app.server_id).count() as i64;
    let name = format!("admin-{}", app.server_id);
    let cluster_name = format!("admin-cluster-{}", app.config.admin_cluster);
    let host_name = match app.config.dns_suffix.as_str() {
        "" => format!("{name}.{cluster_name}"),
        suffix => format!("{name}.{cluster_name}.{suffix}"),
    };
    Ok(Me {
        id: app.server_id.clone(),
        peers,
        max_peers: app.config.max_peers,
        capacity: (app.config.max_peers - peers).max(0),
        distribution_name: format!("admin@{host_name}"),
        host_id: host_id(&app.server_id),
        name,
        cluster_name,
        host_name,
        computed_at: now,
    })
}

/// A UUID (of version 8: made up by rules of one's own) from a server's id.
fn host_id(id: &ServerId) -> String {
    let digest = Sha256::digest(format!("reeve.host:{id}").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_are_stable_uuids() {
        let id = host_id(&"abc".into());
        assert!(reeve_types::id::is_uuid(&id), "{id}");
        assert_eq!(id, host_id(&"abc".into()));
        assert_ne!(id, host_id(&"abd".into()));
    }
}
