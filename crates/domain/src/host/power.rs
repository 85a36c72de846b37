//! Switching hosts on and off, and restarting them; and looking how they are.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, NewJob, Running, Saga, Step, Steps};
use reeve_ports::cloud::{CloudServer, CloudServerId, ServerState, Stop};
use reeve_store::{Tx, host as table, workspace as workspaces};
use reeve_types::host::{Host, HostState};
use reeve_types::operation::{Operation, OperationKind};
use reeve_types::{Actor, Error, HostId, OperationId, Permission, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::boot;
use super::outside::{self, account_of, failure, must, pause, say};
use super::spec::ADOPTED;
use crate::operation::{self, New, Why, begin};
use crate::{App, audit, authz, catalogue, event};

/// How long a request waits for the provider's word on a host.
const LOOK: Duration = Duration::from_secs(3);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Switch on.
    Start,
    /// Shut down, or pull the plug when it does not obey.
    Stop,
    /// Restart.
    Reboot,
}

impl Power {
    /// What its operation is called.
    pub fn kind(self) -> OperationKind {
        match self {
            Power::Start => OperationKind::ServerStart,
            Power::Stop => OperationKind::ServerStop,
            Power::Reboot => OperationKind::ServerReboot,
        }
    }
    fn of(kind: OperationKind) -> Option<Self> {
        [Power::Start, Power::Stop, Power::Reboot].into_iter().find(|power| power.kind() == kind)
    }
    fn wanted(self) -> ServerState {
        match self {
            Power::Start | Power::Reboot => ServerState::Running,
            Power::Stop => ServerState::Stopped,
        }
    }
}

/// Asks for it.
///
/// # Errors
/// NotFound; Conflict when the host is in no state for it, or adopted.
pub async fn power(app: &App, actor: &Actor, handle: &str, power: Power) -> Result<Operation> {
    authz::require(actor, Permission::HostsCreate)?;
    again(app, actor, handle, power, None).await
}

pub(crate) async fn retry(app: &App, actor: &Actor, of: &Operation) -> Result<Operation> {
    let power = Power::of(of.kind).ok_or_else(|| Error::internal("no switch"))?;
    again(app, actor, &of.subject, power, Some(of.id.clone())).await
}

async fn again(
    app: &App,
    actor: &Actor,
    handle: &str,
    power: Power,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let mut tx = app.begin(actor).await?;
    let entered = enter(app, &mut tx, actor, handle, power.kind(), None, retry_of).await?;
    let details = json!({"workspace": entered.workspace, "switch": power});
    audit::record(app, &mut tx, actor, "host.switch", handle, details).await?;
    begin::tell_entered(app, &mut tx, &entered).await?;
    tx.commit().await?;
    Ok(entered)
}

/// Enters a switch with its operation.
///
/// # Errors
/// NotFound; Conflict.
pub(crate) async fn enter(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    handle: &str,
    kind: OperationKind,
    parent: Option<(&OperationId, &str)>,
    retry_of: Option<OperationId>,
) -> Result<Operation> {
    let power = Power::of(kind).ok_or_else(|| Error::internal("no switch"))?;
    let host = table::lock_by_handle(tx, handle).await?.ok_or_else(|| Error::not_found("server"))?;
    if host.provider == ADOPTED {
        return Err(Error::conflict(format!("server {} is adopted: nobody here has its switch", host.hostname)));
    }
    let fits = match power {
        Power::Start => matches!(host.state, HostState::Stopped | HostState::Running),
        Power::Stop | Power::Reboot => host.state == HostState::Running,
    };
    if !fits {
        return Err(Error::conflict(format!("server {} is {}", host.hostname, host.state.word())));
    }
    let workspace = workspaces::get(tx, &host.workspace_id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let mut new = New::of(power.kind(), &workspace, host.handle.clone(), json!({"server": host.handle}));
    (new.parent, new.retry_of) = (parent, retry_of);
    new.locks = vec![begin::host_lock(&host.id)];
    let who = actor.principal.label();
    operation::enter(app, tx, actor, new, |id| {
        let (operation, host) = (id.clone(), host.id.clone());
        let switching = Switching {
            operation,
            host,
            power,
            asked_at: None,
            hard: false,
            seen: None,
            boot: None,
            left: false,
            why: None,
        };
        NewJob::saga::<App, SwitchHost>(&switching, &who)
    })
    .await
}

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Switching {
    operation: OperationId,
    host: HostId,
    power: Power,
    asked_at: Option<Timestamp>,
    hard: bool,
    /// How the provider last said it stands.
    seen: Option<HostState>,
    /// For a restart: which boot it was before. Empty when the host does not tell.
    #[serde(default)]
    boot: Option<String>,
    /// For a restart: the provider was seen to say that it is not running.
    #[serde(default)]
    left: bool,
    why: Option<Why>,
}

/// The saga.
pub struct SwitchHost;

impl Saga<App> for SwitchHost {
    const KIND: &'static str = "host.switch";
    const STEP_TIMEOUT: Duration = Duration::from_secs(120);
    type State = Switching;
    fn steps() -> Steps<App, Switching> {
        Steps::new().then(Begin).then(Switch)
    }
}

struct Begin;
impl Step<App, Switching> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, switching: &mut Switching) -> Result<(), Failure> {
        operation::started(app, tx, &switching.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, switching: &mut Switching) -> Result<(), Failure> {
        outside::why(app, job, &mut switching.why).await
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, switching: &mut Switching) -> Result<(), Failure> {
        operation::undone(app, tx, &switching.operation, &switching.why.clone().unwrap_or_default()).await
    }
}

struct Switch;
impl Step<App, Switching> for Switch {
    fn name(&self) -> &'static str {
        "switch"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, switching: &mut Switching) -> Result<(), Failure> {
        let (host, workspace) = must(app, &switching.host).await?;
        let account = account_of(app, &host, &workspace).await?;
        let cloud = &*account.cloud;
        let id = CloudServerId(host.cloud_ref.clone().unwrap_or_default());
        if switching.power == Power::Reboot && switching.boot.is_none() {
            let told = boot::marker(app, &host).await;
            if let Err(error) = &told {
                say(job, &format!("which boot it is cannot be asked ({error}): the provider's word has to do"));
            }
            switching.boot = Some(told.unwrap_or_default());
            // Stored before anything is asked: after a crash it is still the boot before.
            return Err(Failure::wait(Duration::ZERO, "the restart begins"));
        }
        let now = app.now();
        let since_ms = switching.asked_at.map(|at| now.ms_since(at));
        let patience_ms = app.config.provisioning.stop_patience.as_millis() as i64;
        if since_ms.is_none() || (switching.power == Power::Stop && !switching.hard && since_ms >= Some(patience_ms)) {
            switching.hard = since_ms.is_some();
            say(job, &format!("{:?} {}{}", switching.power, host.hostname, if switching.hard { ", hard" } else { "" }));
            let asked = match switching.power {
                Power::Start => cloud.start(&id).await,
                Power::Reboot => cloud.reboot(&id).await,
                Power::Stop if switching.hard => cloud.stop(&id, Stop::Hard).await,
                Power::Stop => {
                    let timeout_s = u32::try_from(app.config.provisioning.stop_patience.as_secs()).unwrap_or(u32::MAX);
                    cloud.stop(&id, Stop::Soft { timeout_s }).await
                }
            };
            asked.map_err(|error| failure(cloud, error))?;
            switching.asked_at = Some(now);
        }
        let server = cloud.get(&id).await.map_err(|error| failure(cloud, error))?;
        switching.seen = state_of(&server);
        let mut problem = None;
        if server.state != switching.power.wanted() {
            switching.left = true;
            problem = Some(format!("the machine is {}", server.state));
        } else if switching.power == Power::Reboot {
            problem = not_restarted(app, switching, &host).await;
        }
        let Some(problem) = problem else { return Ok(()) };
        if since_ms.is_some_and(|ms| ms > app.config.provisioning.boot_patience.as_millis() as i64) {
            return Err(Failure::Fail(Error::conflict(format!("{problem}, after all this time"))));
        }
        Err(Failure::wait(pause(app, cloud), problem))
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, switching: &mut Switching) -> Result<(), Failure> {
        let mut host = table::get(tx, &switching.host).await?.ok_or_else(|| Error::not_found("server"))?;
        host.state = switching.seen.unwrap_or(host.state);
        host.updated_at = app.now();
        table::update(tx, &host).await?;
        let result = json!({"server_id": host.handle, "ip_address": host.address, "status": host.state});
        let told = event::of_host(event::HOST_CHANGED, &host);
        operation::completed(app, tx, &switching.operation, &result).await?;
        reeve_store::event::append(tx, &*app.ids, app.now(), &[told]).await?;
        Ok(())
    }
    // A switch is not turned back: what somebody asked for may have happened, and the row says what is seen.
    async fn undo(&self, app: &Arc<App>, _: &Running, switching: &mut Switching) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &switching.host).await? else { return Ok(()) };
        let account = account_of(app, &host, &workspace).await?;
        let id = CloudServerId(host.cloud_ref.unwrap_or_default());
        // Without the provider's word the row stays as it is.
        switching.seen = account.cloud.get(&id).await.ok().and_then(|server| state_of(&server));
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, switching: &mut Switching) -> Result<(), Failure> {
        if let Some(seen) = switching.seen {
            let from = [HostState::Running, HostState::Stopped];
            table::set_state(tx, &switching.host, &from, seen, app.now()).await?;
        }
        Ok(())
    }
}

/// Why a machine that is running does not count as restarted. "Running" is also what it was before.
async fn not_restarted(app: &App, switching: &Switching, host: &Host) -> Option<String> {
    match switching.boot.as_deref().unwrap_or_default() {
        "" if switching.left => None,
        "" => Some("nothing shows that the machine went down: it was said to be running all along".to_owned()),
        before => match boot::marker(app, host).await {
            Ok(now) if now != before => None,
            Ok(_) => Some("the machine has not gone down yet".to_owned()),
            Err(error) => Some(format!("the machine is on its way: {error}")),
        },
    }
}

fn state_of(server: &CloudServer) -> Option<HostState> {
    match server.state {
        ServerState::Running => Some(HostState::Running),
        ServerState::Stopped => Some(HostState::Stopped),
        ServerState::Failed => Some(HostState::Error),
        ServerState::Creating | ServerState::Changing | ServerState::Deleting | ServerState::Unknown => None,
    }
}

/// One host as its provider says it stands, if that answers soon; else as last known.
///
/// # Errors
/// NotFound.
pub async fn status(app: &App, actor: &Actor, handle: &str) -> Result<Host> {
    authz::require(actor, Permission::HostsRead)?;
    let host = super::get(app, actor, handle).await?;
    if host.provider == ADOPTED || !matches!(host.state, HostState::Running | HostState::Stopped) {
        return Ok(host);
    }
    match tokio::time::timeout(LOOK, seen(app, &host)).await {
        Ok(Ok(Some(state))) if state != host.state => {
            let mut tx = app.store.begin().await?;
            let from = [HostState::Running, HostState::Stopped];
            // While an operation is at it, that one says how it stands.
            let busy = reeve_store::operation_lock::holder(&mut tx, &begin::host_lock(&host.id)).await?.is_some();
            if !busy && table::set_state(&mut tx, &host.id, &from, state, app.now()).await? {
                tx.commit().await?;
                return Ok(Host { state, ..host });
            }
            Ok(host)
        }
        Ok(Ok(_)) => Ok(host),
        Ok(Err(error)) => {
            tracing::debug!(server = host.handle, %error, "the provider does not say how a server is");
            Ok(host)
        }
        Err(_) => Ok(host),
    }
}

async fn seen(app: &App, host: &Host) -> Result<Option<HostState>> {
    let Some((_, workspace)) = outside::host(app, &host.id).await? else { return Ok(None) };
    let account = crate::credential::account(app, &workspace, &host.provider).await?;
    let max_age_ms = pause(app, &*account.cloud).as_millis() as i64;
    let (_, servers) = catalogue::sighted(app, &account, max_age_ms).await?;
    let found = servers.iter().find(|server| Some(&server.id.0) == host.cloud_ref.as_ref());
    Ok(found.and_then(state_of))
}
