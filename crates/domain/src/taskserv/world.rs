//! What is in a workspace, in the words of the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use reeve_store::{Tx, host as hosts, taskserv as table};
use reeve_taskservs::{Installed, Machine, Problems, Reason, Settings, World};
use reeve_types::host::{Host, HostFilter, HostState};
use reeve_types::taskserv::{Taskserv, TaskservState};
use reeve_types::workspace::Workspace;
use reeve_types::{Error, HostId, Result};

use super::{MOST, aad};
use crate::App;

/// A workspace's machines and what is on them.
pub struct Known {
    /// For the catalogue.
    pub world: World,
    /// Hosts by name.
    pub hosts: BTreeMap<String, Host>,
}

/// Reads a workspace. `coming` are machines that will be there; one taskserv may be left out.
pub async fn read(
    app: &App,
    tx: &mut Tx,
    workspace: &Workspace,
    coming: &[String],
    without: Option<&reeve_types::TaskservId>,
) -> Result<Known> {
    let filter = HostFilter { workspace_id: Some(workspace.id.clone()), ..HostFilter::default() };
    let all = hosts::list(tx, &filter, MOST).await?;
    let placed = table::list(tx, Some(&workspace.id), MOST).await?;
    let mut world = World::default();
    for (n, hostname) in coming.iter().enumerate() {
        // An address of the documentation's network stands for the one that is not known yet.
        let machine = Machine { hostname: hostname.clone(), address: format!("192.0.2.{}", n % 254 + 1) };
        world.machines.insert(hostname.clone(), machine);
    }
    let usable = |host: &&Host| !matches!(host.state, HostState::Deleting) && host.address.is_some();
    for host in all.iter().filter(usable) {
        let address = host.address.clone().unwrap_or_default();
        world.machines.insert(host.hostname.clone(), Machine { hostname: host.hostname.clone(), address });
    }
    for one in placed.iter().filter(|one| Some(&one.taskserv.id) != without) {
        if matches!(one.taskserv.state, TaskservState::Removing) {
            continue;
        }
        let on: BTreeSet<String> = one.hosts.iter().map(|(_, name)| name.clone()).collect();
        world.installed.push(Installed { hosts: on, settings: settings(app, &one.taskserv)? });
    }
    let hosts = all.into_iter().map(|host| (host.hostname.clone(), host)).collect();
    Ok(Known { world, hosts })
}

/// A taskserv's settings, secrets included.
pub fn settings(app: &App, taskserv: &Taskserv) -> Result<Settings> {
    let sealed = taskserv.secrets_sealed.as_deref().ok_or_else(|| Error::internal("a taskserv without settings"))?;
    let opened = app.seal.open(aad(&taskserv.id), sealed)?;
    serde_json::from_str(opened.expose()).map_err(Error::internal)
}

/// Settings as they are stored.
pub fn seal(app: &App, id: &reeve_types::TaskservId, settings: &Settings) -> Result<String> {
    let text = reeve_types::Secret::new(serde_json::to_string(settings).map_err(Error::internal)?);
    Ok(app.seal.seal(&*app.ids, aad(id), text.expose()))
}

/// The ids of hosts by their names.
pub fn ids(known: &Known, machines: &[Machine]) -> Vec<HostId> {
    machines.iter().filter_map(|machine| known.hosts.get(&machine.hostname)).map(|host| host.id.clone()).collect()
}

/// What the catalogue refuses, as an error: Invalid with every field, or Conflict.
pub fn refused(problems: Problems) -> Error {
    // The one in the binary is held against this by tests, so it is a workspace's own.
    if let Some(broken) = problems.iter().find(|problem| problem.reason == Reason::Catalogue) {
        return Error::conflict(format!("its definition is wrong: {broken}")).with_reason("taskserv_layer");
    }
    if let Some(clash) = problems.iter().find(|problem| problem.reason == Reason::Conflict) {
        return Error::conflict(format!("{}; {}", clash.problem, clash.right));
    }
    let mut error = Error::new(reeve_types::ErrorKind::Invalid, "Validation failed");
    for problem in problems {
        error = error.with_detail(&problem.field, format!("{}; {}", problem.problem, problem.right));
    }
    error
}
