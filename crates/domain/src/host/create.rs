//! Asking for a host: checked at the door, entered with its operation, made by [`super::create_saga`].

use std::collections::BTreeMap;

use reeve_jobs::NewJob;
use reeve_store::{Tx, dialect, host as table, workspace as workspaces};
use reeve_types::host::{Host, HostState};
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::workspace::Workspace;
use reeve_types::{Actor, Error, HostId, OperationId, Permission, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create_saga::{CreateHost, Making};
use super::spec::{self, ADOPTED, More, Whole};
use crate::operation::{self, New, begin};
use crate::plan::CheckOperation;
use crate::{App, audit, authz, workspace};

/// Tags of one host.
const MOST_TAGS: usize = 50;

/// What a host is made of. Stored with its operation, so it holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Create {
    /// The workspace's name.
    pub workspace: String,
    /// Unique in the workspace.
    pub hostname: String,
    /// Provider; None is the workspace's default, as for the next three.
    pub provider: Option<String>,
    /// Size.
    pub plan: Option<String>,
    /// Place.
    pub zone: Option<String>,
    /// System.
    pub image: Option<String>,
    /// Size of the first disk in GB; None is what comes with the plan.
    pub disk_gb: Option<u32>,
    /// Words of people.
    pub tags: Vec<String>,
    /// Labels for selectors.
    pub labels: BTreeMap<String, String>,
    /// Nothing is made, the result is a plan.
    pub check_mode: bool,
    /// It is born as an enrolled node.
    pub enroll: bool,
    /// It is deleted with force only.
    pub delete_lock: bool,
    /// What was made stays when something fails.
    pub preserve_on_failure: bool,
    /// For an adopted machine: how to reach it.
    pub adopt: Option<Adopt>,
}

/// A machine that is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Adopt {
    /// IP address or name.
    pub address: String,
    /// Port of its SSH server; None is 22.
    pub port: Option<u16>,
    /// The login; None is root.
    pub user: Option<String>,
}

/// What may go along with a request and must not be stored in clear.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Secrets {
    /// An OpenSSH private key for an adopted machine; None is the workspace's own.
    pub private_key: Option<String>,
}

/// A request that may be entered.
pub struct Prepared {
    input: Create,
    secrets: Option<reeve_types::Secret>,
    whole: Whole,
    host: Host,
}

impl Prepared {
    /// The host as it would be.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }
}

/// Asks for a host.
///
/// # Errors
/// Invalid for what the workspace, the provider or a rule does not have; Conflict for a hostname that is taken.
pub async fn create(
    app: &App,
    actor: &Actor,
    input: Create,
    secrets: Option<reeve_types::Secret>,
) -> Result<Operation> {
    authz::require(actor, Permission::HostsCreate)?;
    again(app, actor, input, secrets, None).await
}

pub(crate) async fn again(
    app: &App,
    actor: &Actor,
    input: Create,
    secrets: Option<reeve_types::Secret>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let found = workspace::named(&mut app.store.read().await?, &input.workspace).await?;
    let prepared = prepare(app, &found, input, secrets).await?;
    let mut tx = app.begin(actor).await?;
    let found = workspaces::lock(&mut tx, &found.name).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let details = json!({
        "hostname": prepared.host.hostname, "workspace": found.name, "provider": prepared.whole.provider,
        "plan": prepared.whole.plan, "zone": prepared.whole.zone, "check_mode": prepared.input.check_mode,
    });
    let entered = enter(app, &mut tx, actor, &found, prepared, None, retry_of).await?;
    audit::record(app, &mut tx, actor, "host.create", entered.id.as_str(), details).await?;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Checks a request against rules, workspace and provider. Asks the provider, so call it outside of a transaction.
///
/// # Errors
/// Invalid; Unavailable when the provider does not answer.
pub(crate) async fn prepare(
    app: &App,
    workspace: &Workspace,
    mut input: Create,
    secrets: Option<reeve_types::Secret>,
) -> Result<Prepared> {
    input.hostname = input.hostname.trim().to_ascii_lowercase();
    check_words(&input)?;
    let whole = spec::whole(app, workspace, &input)?;
    let now = app.now();
    let adopted = whole.provider == ADOPTED;
    let adopt = input.adopt.clone().unwrap_or_default();
    let host = Host {
        id: HostId(app.ids.next()),
        handle: super::handle(app, "srv"),
        workspace_id: workspace.id.clone(),
        hostname: input.hostname.clone(),
        provider: whole.provider.clone(),
        plan: whole.plan.clone(),
        zone: whole.zone.clone(),
        image: whole.image.clone(),
        address: adopted.then(|| adopt.address.clone()),
        ssh_port: adopt.port.unwrap_or(22),
        ssh_user: adopt.user.clone().filter(|_| adopted).unwrap_or_else(|| "root".to_owned()),
        host_key: None,
        ssh_key_sealed: None,
        state: HostState::Creating,
        problem: None,
        cloud_ref: None,
        operation_tag: None,
        tags: input.tags.clone(),
        labels: input.labels.clone(),
        delete_lock: input.delete_lock,
        node_id: None,
        inserted_at: now,
        updated_at: now,
    };
    super::enroll::possible(app, &whole.provider, &input)?;
    let order = spec::order(app, workspace, &host, More { disk_gb: input.disk_gb, user_data: None }).await?;
    if adopted {
        if adopt.address.is_empty() {
            let problem = "is missing: with provider ssh say how to reach the machine";
            return Err(Error::invalid("address", problem));
        }
    } else {
        spec::possible(app, workspace, &order, &whole.provider).await?;
    }
    Ok(Prepared { input, secrets, whole, host })
}

/// Enters a prepared request with its host and operation.
///
/// # Errors
/// Conflict for a hostname that is taken.
pub(crate) async fn enter(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    workspace: &Workspace,
    prepared: Prepared,
    parent: Option<(&OperationId, &str)>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let Prepared { input, secrets, mut host, .. } = prepared;
    if let Some(other) = table::by_hostname(tx, &workspace.id, &host.hostname).await? {
        return Err(taken(&host.hostname, &workspace.name, &other));
    }
    while table::by_handle(tx, &host.handle).await?.is_some() {
        host.handle = super::handle(app, "srv");
    }
    let request = serde_json::to_value(&input).map_err(Error::internal)?;
    let id = OperationId(app.ids.next());
    let who = actor.principal.label();
    let mut new = New::of(OperationKind::ServerCreate, workspace, host.handle.clone(), request);
    (new.parent, new.retry_of, new.id, new.check_mode) = (parent, retry_of, Some(id.clone()), input.check_mode);
    if input.check_mode {
        new.subject = host.hostname.clone();
        new.secrets = secrets;
        return operation::enter(app, tx, actor, new, |id| CheckOperation::job(id, &who)).await;
    }
    host.operation_tag = Some(format!("{id}-1"));
    if let Some(key) = private_key(secrets.as_ref())? {
        let aad = super::outside::aad(&host.id);
        host.ssh_key_sealed = Some(app.seal.seal(&*app.ids, aad, key.expose()));
    }
    let key = match input.enroll {
        true => Some(super::enroll::key(app, tx, actor, &mut host).await?),
        false => None,
    };
    table::insert(tx, &host).await.map_err(|error| {
        if dialect::is_unique_violation(&error, "hosts_workspace_id_hostname") {
            let text = format!("workspace {} has a server {} already", workspace.name, host.hostname);
            return Error::conflict(text).with_source(error);
        }
        error
    })?;
    new.secrets = secrets;
    new.locks = vec![begin::host_lock(&host.id)];
    let making = Making::of(id, &host, &input, key);
    operation::enter(app, tx, actor, new, |_| NewJob::saga::<App, CreateHost>(&making, &who)).await
}

fn private_key(secrets: Option<&reeve_types::Secret>) -> Result<Option<reeve_types::Secret>> {
    let Some(secrets) = secrets else { return Ok(None) };
    let read: Secrets = serde_json::from_str(secrets.expose()).map_err(Error::internal)?;
    Ok(read.private_key.filter(|key| !key.is_empty()).map(reeve_types::Secret::new))
}

pub(crate) fn taken(hostname: &str, workspace: &str, other: &Host) -> Error {
    Error::conflict(format!(
        "workspace {workspace} has a server {hostname} already: {} ({})",
        other.handle,
        other.state.word()
    ))
}

fn check_words(input: &Create) -> Result<()> {
    let said = |text: &str, most: usize| text.chars().count() <= most && !text.chars().any(char::is_control);
    if input.tags.len() > MOST_TAGS || !input.tags.iter().all(|tag| said(tag, 100)) {
        let rule = format!("must be at most {MOST_TAGS} of at most 100 characters, none of them a control character");
        return Err(Error::invalid("tags", rule));
    }
    let named = |(key, value): (&String, &String)| !key.trim().is_empty() && said(key, 63) && said(value, 63);
    if input.labels.len() > MOST_TAGS || !input.labels.iter().all(named) {
        let rule = "with names that are not empty, of at most 63 characters, none of them a control character";
        return Err(Error::invalid("labels", format!("must be at most {MOST_TAGS} {rule}")));
    }
    Ok(())
}
