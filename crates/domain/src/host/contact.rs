//! The way to a host over SSH: with its own key or its workspace's, and with the host key that the first contact pinned.

use std::sync::Arc;

use reeve_ports::remote::{Facts, HostKey, RemoteHost, Target, gather};
use reeve_store::host as table;
use reeve_types::host::Host;
use reeve_types::{Error, Result};

use super::outside::aad;
use crate::{App, workspace};

/// Logs in on a host. The first contact pins the key that the host shows; a host that shows another one later is refused.
/// Unavailable is worth another try, everything else is for a person to look at. Call it outside of a transaction.
///
/// # Errors
/// Conflict for a host without an address, one that does not let us in (`ssh_login`) or shows another key
/// (`host_key_changed`); Unavailable when it cannot be reached.
pub async fn contact(app: &App, host: &Host) -> Result<Arc<dyn RemoteHost>> {
    let address = host.address.clone();
    let Some(address) = address.filter(|address| !address.is_empty()) else {
        return Err(Error::conflict(format!("server {} has no address yet", host.hostname)));
    };
    let key = match &host.ssh_key_sealed {
        Some(sealed) => app.seal.open(aad(&host.id), sealed)?,
        None => {
            workspace::key::public(app, &workspace_of(app, host).await?).await?;
            let key = workspace::key::private(app, &host.workspace_id).await?;
            key.ok_or_else(|| Error::not_found("the workspace's key"))?
        }
    };
    let target = Target {
        address,
        port: host.ssh_port,
        user: host.ssh_user.clone(),
        key,
        pinned: host.host_key.as_deref().map(HostKey::parse).transpose()?,
        connect_timeout: Target::CONNECT_TIMEOUT,
    };
    let login = app.remote()?.connect(&target).await?;
    if target.pinned.is_some() {
        return Ok(login);
    }
    let shown = login.host_key().to_string();
    let mut tx = app.store.begin().await?;
    if table::pin(&mut tx, &host.id, &shown, app.now()).await? {
        tx.commit().await?;
        return Ok(login);
    }
    drop(tx);
    // Somebody else was first, or the host is gone.
    let pinned = table::get(&mut app.store.read().await?, &host.id).await?.and_then(|host| host.host_key);
    match pinned {
        Some(pinned) if pinned == shown => Ok(login),
        Some(_) => Err(Error::conflict(format!("server {} shows two different host keys", host.hostname))
            .with_reason("host_key_changed")),
        None => Err(Error::not_found("server")),
    }
}

/// What a host says of itself.
///
/// # Errors
/// As [`contact`].
pub async fn facts(app: &App, host: &Host) -> Result<Facts> {
    let login = contact(app, host).await?;
    Ok(gather(&*login).await?)
}

async fn workspace_of(app: &App, host: &Host) -> Result<reeve_types::workspace::Workspace> {
    let found = reeve_store::workspace::get(&mut app.store.read().await?, &host.workspace_id).await?;
    found.ok_or_else(|| Error::not_found("workspace"))
}
