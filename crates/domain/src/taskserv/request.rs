//! Requests for taskservs: read, checked against the workspace and the catalogue.

use reeve_taskservs::{Missing, Resolution, Settings, Wanted, resolve};
use reeve_types::operation::OperationKind;
use reeve_types::taskserv::Placed;
use reeve_types::workspace::Workspace;
use reeve_types::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{layers, world};
use crate::App;

/// What may be asked for. Which fields count depends on the kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The workspace's name.
    pub workspace: Option<String>,
    /// A name of the catalogue (create).
    pub name: String,
    /// Host names, in the order that decides who is first (create).
    pub servers: Vec<String>,
    /// Settings; for an upgrade only what changes, null takes a setting back to its default.
    pub config: Value,
    /// Handle (upgrade, delete).
    pub taskserv: String,
    /// Past what others need (delete).
    pub force: bool,
    /// Its data go too (delete).
    pub remove_data: bool,
    /// What was made stays when something fails (create, upgrade).
    pub preserve_on_failure: bool,
    /// Nothing is changed, the result is a plan.
    pub check_mode: bool,
}

/// What will be done.
pub enum Work {
    /// These steps in order; the one asked for is `asked`.
    Install {
        /// In order.
        resolution: Resolution,
    },
    /// This taskserv gets these settings.
    Upgrade {
        /// It.
        placed: Placed,
        /// What it gets.
        settings: Box<Settings>,
    },
    /// This taskserv goes.
    Remove {
        /// It.
        placed: Placed,
    },
}

/// A request that may be entered.
pub(crate) struct Prepared {
    pub kind: OperationKind,
    pub request: Request,
    pub known: world::Known,
    pub work: Work,
}

impl Prepared {
    /// For the audit: no secret is in it.
    pub fn told(&self) -> Value {
        json!({
            "name": self.request.name, "taskserv": self.request.taskserv, "servers": self.request.servers,
            "force": self.request.force, "remove_data": self.request.remove_data, "check_mode": self.request.check_mode,
        })
    }

    /// The request without its secrets.
    pub fn public(&self) -> Result<Value> {
        let mut shown = serde_json::to_value(&self.request).map_err(Error::internal)?;
        shown["config"] = match &self.work {
            Work::Install { resolution } => {
                let asked = resolution.steps.iter().find(|step| step.settings.name == self.request.name);
                asked.map_or_else(|| Ok::<_, Error>(json!({})), |step| layers::public(&step.settings))?
            }
            Work::Upgrade { settings, .. } => layers::public(settings)?,
            Work::Remove { .. } => json!({}),
        };
        Ok(shown)
    }
}

/// The request as it was made: from `secrets` where it was sealed with an operation, but a plan's word on `check_mode` wins.
pub(super) fn whole(request: Value, secrets: Option<Secret>) -> Result<Value> {
    let Some(secrets) = secrets else { return Ok(request) };
    let mut made: Value = serde_json::from_str(secrets.expose()).map_err(Error::internal)?;
    made["check_mode"] = request["check_mode"].clone();
    Ok(made)
}

/// Checks a request.
///
/// # Errors
/// NotFound; Invalid; Conflict.
pub(crate) async fn prepare(app: &App, workspace: &Workspace, kind: OperationKind, request: Value) -> Result<Prepared> {
    prepare_with(app, workspace, kind, request, &[]).await
}

/// The first of these installations that could not be entered once the machines `coming` and the ones before it are there,
/// with what is wrong with it. What only stands in the way as things are is not looked at: it may be gone by then.
///
/// # Errors
/// As the store; Invalid for a request that cannot be read; Conflict when the workspace's own taskservs are wrong.
pub(crate) async fn first_wrong(
    app: &App,
    workspace: &Workspace,
    requests: &[&Value],
    coming: &[String],
) -> Result<Option<(usize, Error)>> {
    let catalogue = layers::catalogue(Some(workspace)).await?;
    let known = world::read(app, &mut app.store.read().await?, workspace, coming, None).await?;
    let mut wanted = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let request = read(request)?;
        wanted.push(Wanted { name: request.name, hosts: request.servers, config: request.config });
        match resolve(&catalogue, &known.world, &wanted, Missing::Install).map_err(world::refused) {
            Err(error) if error.kind == ErrorKind::Invalid => return Ok(Some((index, error))),
            _ => {}
        }
    }
    Ok(None)
}

fn read(request: &Value) -> Result<Request> {
    let cannot = |error: serde_json::Error| Error::invalid("body", format!("cannot be read: {error}"));
    let mut request = Request::deserialize(request).map_err(cannot)?;
    // Hostnames know no case; they are kept in lower case.
    request.servers.iter_mut().for_each(|name| name.make_ascii_lowercase());
    Ok(request)
}

/// As [`prepare`], with machines that will be there.
pub(super) async fn prepare_with(
    app: &App,
    workspace: &Workspace,
    kind: OperationKind,
    request: Value,
    coming: &[String],
) -> Result<Prepared> {
    let mut request = read(&request)?;
    request.workspace = Some(workspace.name.clone());
    // What is removed is removed as it was installed, whatever the files say by then.
    let catalogue = match kind {
        OperationKind::TaskservDelete => None,
        _ => Some(layers::catalogue(Some(workspace)).await?),
    };
    let mut tx = app.store.read().await?;
    let work;
    let mut known;
    if let (Some(catalogue), OperationKind::TaskservCreate) = (&catalogue, kind) {
        known = world::read(app, &mut tx, workspace, coming, None).await?;
        known.world.folder = folder(app, &known, &request.servers);
        let wanted =
            Wanted { name: request.name.clone(), hosts: request.servers.clone(), config: request.config.clone() };
        let resolution = resolve(catalogue, &known.world, std::slice::from_ref(&wanted), Missing::Install)
            .map_err(world::refused)?;
        work = Work::Install { resolution };
    } else {
        let missing = || Error::not_found("taskserv");
        let placed = reeve_store::taskserv::by_handle(&mut tx, &request.taskserv).await?.ok_or_else(missing)?;
        if placed.taskserv.workspace_id != workspace.id {
            return Err(missing());
        }
        known = world::read(app, &mut tx, workspace, coming, Some(&placed.taskserv.id)).await?;
        request.name.clone_from(&placed.taskserv.name);
        request.servers = placed.hosts.iter().map(|(_, name)| name.clone()).collect();
        work = if let Some(catalogue) = &catalogue {
            known.world.folder = folder(app, &known, &request.servers);
            let before = world::settings(app, &placed.taskserv)?;
            let config = Value::Object(changed(&before, &request.config)?);
            let wanted = Wanted { name: request.name.clone(), hosts: request.servers.clone(), config };
            let resolution = resolve(catalogue, &known.world, &[wanted], Missing::Refuse).map_err(world::refused)?;
            let settings = resolution.steps.into_iter().next().map(|step| step.settings);
            let settings = settings.ok_or_else(|| Error::internal("an upgrade without a step"))?;
            Work::Upgrade { placed, settings: Box::new(settings) }
        } else {
            let on = request.servers.iter().cloned().collect();
            let installed = layers::installed(&known.world)?;
            let missed =
                reeve_taskservs::dependents(&installed, &known.world, &request.name, &on).map_err(world::refused)?;
            if !request.force && !missed.is_empty() {
                let names: Vec<&str> = missed.iter().map(|one| one.settings.name.as_str()).collect();
                let text =
                    format!("{} is needed by {}: delete that first, or force it", request.name, names.join(", "));
                return Err(Error::conflict(text));
            }
            Work::Remove { placed }
        };
    }
    Ok(Prepared { kind, request, known, work })
}

/// Local hosts share a folder of packages with this machine.
fn folder(app: &App, known: &world::Known, servers: &[String]) -> Option<String> {
    let local = |name: &String| known.hosts.get(name).is_some_and(|host| host.provider == "local");
    let folder = app.config.provisioning.local_packages.clone();
    folder.filter(|_| !servers.is_empty() && servers.iter().all(local))
}

/// What was set before, with the changes over it.
fn changed(before: &Settings, changes: &Value) -> Result<Map<String, Value>> {
    let mut config: Map<String, Value> =
        before.params.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    config.entry("version").or_insert_with(|| Value::String(before.version.clone()));
    let changes = match changes {
        Value::Null => return Ok(config),
        Value::Object(map) => map,
        _ => return Err(Error::invalid("config", "must be an object of settings")),
    };
    // Another version comes from where it is at home, unless said otherwise.
    if changes.contains_key("version") {
        for old in ["source", "source_url", "source_sha256", "source_path"] {
            config.remove(old);
        }
    }
    for (name, value) in changes {
        if value.is_null() {
            config.remove(name);
        } else {
            config.insert(name.clone(), value.clone());
        }
    }
    Ok(config)
}
