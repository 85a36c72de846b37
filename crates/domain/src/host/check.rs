//! What making or deleting a host would do: the provider is asked, nothing is changed.

use reeve_store::workspace as workspaces;
use reeve_types::operation::Operation;
use reeve_types::{Error, Result};
use serde_json::json;

use super::create::{Create, prepare};
use super::delete::Delete;
use super::outside;
use super::spec::{self, ADOPTED, More};
use crate::App;
use crate::credential::account;
use crate::plan::{Content, Item};

/// The plan of a `server_create`.
///
/// # Errors
/// Invalid and Unavailable, as the request itself.
pub(crate) async fn create(app: &App, operation: &Operation) -> Result<Content> {
    let input: Create = serde_json::from_str(&operation.request).map_err(Error::internal)?;
    of_create(app, input).await
}

/// As [`create`], for a request that is part of another.
pub(crate) async fn of_create(app: &App, input: Create) -> Result<Content> {
    let found = workspaces::by_name(&mut app.store.read().await?, &input.workspace).await?;
    let workspace = found.ok_or_else(|| Error::not_found("workspace"))?;
    let disk_gb = input.disk_gb;
    let prepared = prepare(app, &workspace, input, None).await?;
    let host = prepared.host();
    let mut content = Content::default();
    let mut item = Item::new("create", "server", &host.hostname);
    item.details = json!({
        "provider": host.provider, "plan": host.plan, "zone": host.zone, "image": host.image, "tags": host.tags,
    });
    if host.provider == ADOPTED {
        item.action = "adopt";
        item.details["ip_address"] = json!(host.address);
        content.items.push(item);
        return Ok(content);
    }
    let order = spec::order(app, &workspace, host, More { disk_gb, user_data: None }).await?;
    let account = account(app, &workspace, &host.provider).await?;
    let preview = account.cloud.check(&order).await?;
    item.details["cpu_cores"] = json!(preview.plan.cpu_cores);
    item.details["memory_mib"] = json!(preview.plan.memory_mib);
    item.details["disk_gb"] = json!(preview.disk_gb);
    item.details["image"] = json!(preview.image.name);
    item.details["zone_title"] = json!(preview.zone.title);
    match preview.price {
        Some(price) => item.price = Some((price.per_hour_micros, price.currency)),
        None => content.warnings.push(format!("{} does not tell the price of {}", host.provider, host.plan)),
    }
    content.items.push(item);
    Ok(content)
}

/// The plan of a `server_delete`.
///
/// # Errors
/// NotFound when it is gone meanwhile.
pub(crate) async fn delete(app: &App, operation: &Operation) -> Result<Content> {
    let input: Delete = serde_json::from_str(&operation.request).map_err(Error::internal)?;
    of_delete(app, input).await
}

/// As [`delete`], for a request that is part of another.
pub(crate) async fn of_delete(app: &App, input: Delete) -> Result<Content> {
    let found = reeve_store::host::by_handle(&mut app.store.read().await?, &input.server).await?;
    let host = found.ok_or_else(|| Error::not_found("server"))?;
    let mut content = Content::default();
    for name in reeve_store::host::taskservs_on(&mut app.store.read().await?, &host.id).await? {
        content.items.push(Item::new("remove", "taskserv", &format!("{name} on {}", host.hostname)));
    }
    let mut item = Item::new("delete", "server", &host.hostname);
    item.details = json!({
        "server_id": host.handle, "provider": host.provider, "plan": host.plan, "zone": host.zone,
        "ip_address": host.address, "disks": host.provider != ADOPTED,
    });
    if let Some((_, workspace)) = outside::host(app, &host.id).await?
        && host.provider != ADOPTED
        && account(app, &workspace, &host.provider).await.is_err()
    {
        content.warnings.push(format!("provider {} cannot be reached with the workspace's credentials", host.provider));
    }
    content.items.push(item);
    Ok(content)
}
