//! Deleting a host. What is gone does not come back: the undo of the removal only finds out whether it is, so that the row
//! never says otherwise.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, Running, Saga, Step, Steps};
use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{CloudServerId, ServerState, Stop};
use reeve_store::{Tx, host as table};
use reeve_types::host::{Host, HostState};
use reeve_types::{HostId, OperationId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::outside::{self, account_of, failure, pause, say};
use super::spec::ADOPTED;
use crate::operation::{self, Why};
use crate::{App, event};

/// Tries of a forced deletion before the provider is given up.
const FORCED_TRIES: u32 = 3;

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removing {
    operation: OperationId,
    host: HostId,
    handle: String,
    hostname: String,
    force: bool,
    /// How it stood before.
    before: HostState,
    /// When the system inside was asked to stop.
    asked_at: Option<Timestamp>,
    tries: u32,
    gone: bool,
    warnings: Vec<String>,
    why: Option<Why>,
}

impl Removing {
    /// The state a saga begins with.
    pub fn of(operation: OperationId, host: &Host, force: bool) -> Self {
        Self {
            operation,
            host: host.id.clone(),
            handle: host.handle.clone(),
            hostname: host.hostname.clone(),
            force,
            before: host.state,
            asked_at: None,
            tries: 0,
            gone: false,
            warnings: Vec::new(),
            why: None,
        }
    }
}

/// The saga.
pub struct DeleteHost;

impl Saga<App> for DeleteHost {
    const KIND: &'static str = "host.delete";
    const STEP_TIMEOUT: Duration = Duration::from_secs(180);
    type State = Removing;
    fn steps() -> Steps<App, Removing> {
        Steps::new().then(Begin).then(SwitchOff).then(Remove)
    }
}

struct Begin;
impl Step<App, Removing> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, removing: &mut Removing) -> Result<(), Failure> {
        table::set_state(tx, &removing.host, &[], HostState::Deleting, app.now()).await?;
        operation::started(app, tx, &removing.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        outside::why(app, job, &mut removing.why).await
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, removing: &mut Removing) -> Result<(), Failure> {
        if removing.gone {
            table::delete(tx, &removing.host).await?;
        } else {
            table::set_state(tx, &removing.host, &[HostState::Deleting], removing.before, app.now()).await?;
        }
        operation::undone(app, tx, &removing.operation, &removing.why.clone().unwrap_or_default()).await
    }
}

struct SwitchOff;
impl Step<App, Removing> for SwitchOff {
    fn name(&self) -> &'static str {
        "stop"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &removing.host).await? else { return Ok(()) };
        let Some(id) = host.cloud_ref.clone().map(CloudServerId) else { return Ok(()) };
        if removing.force || removing.before != HostState::Running || host.provider == ADOPTED {
            return Ok(());
        }
        let account = account_of(app, &host, &workspace).await?;
        let cloud = &*account.cloud;
        let state = match cloud.get(&id).await {
            Ok(server) => server.state,
            Err(error) if error.kind == CloudErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failure(cloud, error)),
        };
        if matches!(state, ServerState::Stopped | ServerState::Deleting) {
            return Ok(());
        }
        let (now, patience) = (app.now(), app.config.provisioning.stop_patience);
        match removing.asked_at {
            None => {
                say(job, &format!("asking {} to shut down", host.hostname));
                let timeout_s = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX);
                match cloud.stop(&id, Stop::Soft { timeout_s }).await {
                    Ok(()) => removing.asked_at = Some(now),
                    // It is between two states: the next look sees what became of it.
                    Err(error) if matches!(error.kind, CloudErrorKind::State | CloudErrorKind::Busy) => {}
                    Err(error) => return Err(failure(cloud, error)),
                }
            }
            Some(asked_at) if now.ms_since(asked_at) >= patience.as_millis() as i64 => {
                say(job, "it does not obey; the plug is pulled");
                return Ok(());
            }
            Some(_) => {}
        }
        Err(Failure::wait(pause(app, cloud), "the machine is shutting down"))
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &removing.host).await? else { return Ok(()) };
        let Some(id) = host.cloud_ref.clone().map(CloudServerId) else { return Ok(()) };
        if removing.gone || removing.force || removing.before != HostState::Running || host.provider == ADOPTED {
            return Ok(());
        }
        let account = account_of(app, &host, &workspace).await?;
        match account.cloud.get(&id).await {
            Ok(server) if server.state == ServerState::Running && removing.asked_at.is_none() => Ok(()),
            Ok(server) if server.state == ServerState::Running => {
                // It was asked to stop and may still do so.
                let since_ms = removing.asked_at.map_or(0, |at| app.now().ms_since(at));
                if since_ms < app.config.provisioning.stop_patience.as_millis() as i64 {
                    return Err(Failure::wait(pause(app, &*account.cloud), "the machine may still shut down"));
                }
                Ok(())
            }
            Ok(server) if server.state == ServerState::Stopped => {
                say(job, &format!("switching {} on again", host.hostname));
                removing.asked_at = None;
                account.cloud.start(&id).await.map_err(|error| failure(&*account.cloud, error))?;
                Err(Failure::wait(pause(app, &*account.cloud), "the machine is starting again"))
            }
            Ok(_) => Err(Failure::wait(pause(app, &*account.cloud), "the machine is between two states")),
            Err(error) if error.kind == CloudErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure(&*account.cloud, error)),
        }
    }
}

struct Remove;
impl Remove {
    /// One step towards no machine.
    async fn step(&self, app: &App, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &removing.host).await? else { return Ok(()) };
        if host.provider == ADOPTED {
            return Ok(());
        }
        let account = account_of(app, &host, &workspace).await?;
        let mut machines: Vec<CloudServerId> = host.cloud_ref.clone().map(CloudServerId).into_iter().collect();
        if let (true, Some(tag)) = (machines.is_empty(), &host.operation_tag) {
            machines.extend(outside::tagged(&*account.cloud, tag).await?.into_iter().map(|server| server.id));
        }
        for machine in &machines {
            if !outside::remove(&*account.cloud, machine).await? {
                return Err(Failure::wait(pause(app, &*account.cloud), format!("{machine} is being deleted")));
            }
            say(job, &format!("{machine} is gone, and its disks"));
        }
        Ok(())
    }
}
impl Step<App, Removing> for Remove {
    fn name(&self) -> &'static str {
        "remove"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        if outside::is_cancelled(app, &removing.operation).await? && !removing.gone {
            return Err(Failure::Fail(reeve_types::Error::conflict("the operation was cancelled")));
        }
        match self.step(app, job, removing).await {
            Ok(()) => {
                removing.gone = true;
                if let Some((host, _)) = outside::host(app, &removing.host).await? {
                    outside::forget_node(app, job, &host).await?;
                }
                Ok(())
            }
            Err(Failure::Wait { after, error }) => Err(Failure::Wait { after, error }),
            Err(refused) if removing.force => {
                removing.tries += 1;
                if removing.tries < FORCED_TRIES {
                    let error = reeve_types::Error::unavailable(refused.error().message.clone());
                    return Err(Failure::Wait { after: app.config.provisioning.poll, error });
                }
                let warning = format!(
                    "{} may still exist with its provider: it could not be deleted there ({})",
                    removing.hostname,
                    refused.error()
                );
                say(job, &warning);
                removing.warnings.push(warning);
                Ok(())
            }
            Err(refused) => Err(refused),
        }
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, removing: &mut Removing) -> Result<(), Failure> {
        let result = json!({
            "server_id": removing.handle, "hostname": removing.hostname, "storage_removed": removing.gone,
            "warnings": removing.warnings,
        });
        let host = table::get(tx, &removing.host).await?;
        table::delete(tx, &removing.host).await?;
        operation::completed(app, tx, &removing.operation, &result).await?;
        if let Some(host) = host {
            let told = event::of_host(event::HOST_DELETED, &host);
            reeve_store::event::append(tx, &*app.ids, app.now(), &[told]).await?;
        }
        Ok(())
    }
    // A machine that is gone cannot be made again; one that is there stays.
    async fn undo(&self, app: &Arc<App>, job: &Running, removing: &mut Removing) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &removing.host).await? else { return Ok(()) };
        let Some(id) = host.cloud_ref.clone().map(CloudServerId).filter(|_| host.provider != ADOPTED) else {
            return Ok(());
        };
        let account = account_of(app, &host, &workspace).await?;
        removing.gone = match account.cloud.get(&id).await {
            Ok(server) if server.state == ServerState::Deleting => {
                return Err(Failure::wait(pause(app, &*account.cloud), "the machine is being deleted"));
            }
            Ok(_) => false,
            Err(error) if error.kind == CloudErrorKind::NotFound => true,
            Err(error) => return Err(failure(&*account.cloud, error)),
        };
        if removing.gone {
            say(job, &format!("{} was deleted already and cannot be brought back", host.hostname));
        }
        Ok(())
    }
}
