//! How a taskserv is doing, asked of its machines by its own health check.

use std::collections::BTreeMap;

use futures::StreamExt;
use reeve_store::{host as hosts, taskserv as table};
use reeve_taskservs::{Change, Phase};
use reeve_types::host::Host;
use reeve_types::{Actor, Error, Permission, Result};
use serde_json::{Value, json};

use super::machine::{self, Ground, Lines, Site, Visit};
use super::{AT_ONCE, world};
use crate::{App, authz};

/// What a taskserv's health checks say, asked of its hosts.
///
/// # Errors
/// NotFound.
pub async fn health(app: &App, actor: &Actor, handle: &str) -> Result<Value> {
    authz::require(actor, Permission::TaskservsRead)?;
    let mut tx = app.store.read().await?;
    let placed = table::by_handle(&mut tx, handle).await?.ok_or_else(|| Error::not_found("taskserv"))?;
    let on = hosts::of_ids(&mut tx, placed.hosts.iter().map(|(id, _)| id)).await?;
    drop(tx);
    let settings = world::settings(app, &placed.taskserv)?;
    let others = machine::placed(app, &placed.taskserv.workspace_id).await?;
    let ground = Ground::of(settings, on, others)?;
    let (chosen, exports) = (ground.chosen(), BTreeMap::new());
    let site = Site { ground: &ground, chosen: &chosen, exports: &exports, purge: false, change: Change::None };
    let on = &ground.hosts;
    let ask = async |index: usize| (index, one(app, &site, index, &on[index]).await);
    let mut answers: Vec<(usize, Value)> = futures::stream::iter((0..on.len()).map(|index| Box::pin(ask(index))))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by_key(|(index, _)| *index);
    let servers: Vec<Value> = answers.into_iter().map(|(_, answer)| answer).collect();
    let well = !servers.is_empty() && servers.iter().all(|server| server["healthy"] == true);
    let found = json!({
        "status": if well { "healthy" } else { "unhealthy" }, "checked_at": app.now().rfc3339_secs(), "servers": servers,
    });
    let mut tx = app.store.begin().await?;
    table::set_health(&mut tx, &placed.taskserv.id, &found.to_string(), app.now()).await?;
    tx.commit().await?;
    Ok(found)
}

async fn one(app: &App, site: &Site<'_>, index: usize, host: &Host) -> Value {
    let asked = async {
        let visit = Visit::begin(app, host).await?;
        let bundle = site.bundle(index, &visit.facts().await?)?;
        visit.run(&bundle, Phase::Health, true, Lines::clean(site.ground.redactor())).await
    };
    match asked.await {
        Ok(report) => json!({"hostname": host.hostname, "healthy": true, "facts": report.facts, "problem": null}),
        Err(error) => json!({"hostname": host.hostname, "healthy": false, "facts": {}, "problem": error.to_string()}),
    }
}
