//! Schedules and reconcilers as people see them: how they are doing, and a pass or tick out of turn.

pub use reeve_jobs::{ReconcilerStatus, Recurs};
use reeve_store::schedule as table;
use reeve_types::{Actor, Error, Permission, Result, Timestamp};
use serde_json::json;

use crate::{App, audit, authz};

/// Something that recurs: what this server knows of it, and what the store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// As seen by this server.
    pub status: ReconcilerStatus,
    /// The next tick or pass: of a schedule on whichever server, of a reconciler on this one.
    pub next_at: Option<Timestamp>,
    /// The last tick or pass: of a schedule on whichever server, of a reconciler on this one.
    pub last_at: Option<Timestamp>,
    /// The server that has it, where one at a time does and others might.
    pub server: Option<String>,
}

/// The schedules, or the reconcilers.
///
/// # Errors
/// As the store.
pub async fn list(app: &App, actor: &Actor, what: Recurs) -> Result<Vec<View>> {
    authz::require(actor, Permission::JobsRead)?;
    let rows = table::all(&mut app.store.read().await?).await?;
    let now = app.now();
    let mut views = Vec::new();
    for status in app.registry.status().into_iter().filter(|status| status.recurs == what) {
        let name = row_name(what, status.name);
        let row = rows.iter().find(|row| row.name == name);
        let view = match what {
            Recurs::Schedule => View {
                next_at: row.map(|row| row.next_at).filter(|_| !status.off),
                last_at: row.and_then(|row| row.last_at),
                server: None,
                status,
            },
            Recurs::Reconciler => View {
                next_at: status.next_at,
                last_at: status.last_started_at,
                server: row.filter(|row| row.lease_until.is_some_and(|until| until >= now)).and_then(server_of),
                status,
            },
        };
        views.push(view);
    }
    Ok(views)
}

/// Asks for a tick or pass at once, on every server that would do it.
///
/// # Errors
/// NotFound; Conflict for a schedule that is turned off.
pub async fn poke(app: &App, actor: &Actor, what: Recurs, name: &str) -> Result<()> {
    authz::require(actor, Permission::JobsWrite)?;
    let known = app.registry.status().into_iter().find(|status| status.recurs == what && status.name == name);
    let status = known.ok_or_else(|| Error::not_found(noun(what)))?;
    if status.off {
        return Err(Error::conflict(format!("the schedule {name} is turned off in the server's settings")));
    }
    let mut tx = app.begin(actor).await?;
    table::ask(&mut tx, &row_name(what, name), app.now()).await?;
    let action = match what {
        Recurs::Schedule => "schedule.poke",
        Recurs::Reconciler => "reconciler.poke",
    };
    audit::record(app, &mut tx, actor, action, name, json!({})).await?;
    tx.commit().await
}

fn noun(what: Recurs) -> &'static str {
    match what {
        Recurs::Schedule => "schedule",
        Recurs::Reconciler => "reconciler",
    }
}

fn row_name(what: Recurs, name: &str) -> String {
    match what {
        Recurs::Schedule => name.to_owned(),
        Recurs::Reconciler => reeve_jobs::row_name(name),
    }
}

/// The server in the name of a lease's owner.
fn server_of(row: &table::Recurrence) -> Option<String> {
    let owner = row.lease_owner.as_deref()?;
    Some(owner.split_once('/').map_or(owner, |(server, _)| server).to_owned())
}
