//! Making a host: ordered once whatever happens, up with an address, or gone without a trace.
//!
//! The machine carries the host's tag from its order on. Every look for it goes by that tag, so a crash between the
//! provider's yes and our note of it costs a second look, never a second machine.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, Running, Saga, Step, Steps};
use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{CloudServer, CloudServerId, OPERATION_LABEL, ServerState};
use reeve_store::{Tx, host as table};
use reeve_types::host::{Host, HostState};
use reeve_types::{EnrollmentKeyId, Error, HostId, OperationId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create::Create;
use super::enroll;
use super::outside::{self, account_of, failure, must, pause, say};
use super::spec::{self, ADOPTED, More};
use crate::operation::{self, Why};
use crate::{App, catalogue, event};

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Making {
    operation: OperationId,
    host: HostId,
    hostname: String,
    disk_gb: Option<u32>,
    preserve: bool,
    /// The provider's id, once told.
    cloud_ref: Option<String>,
    login_user: Option<String>,
    /// The provider said no: nothing was ordered.
    refused: bool,
    /// When the machine has to be up.
    deadline: Option<Timestamp>,
    /// When the undo first looked for machines and found none.
    looked_at: Option<Timestamp>,
    /// Since when the provider has told of a fault, each time it was asked.
    #[serde(default)]
    fault_since: Option<Timestamp>,
    address: Option<String>,
    /// The size of an adopted machine, as it says itself.
    #[serde(default)]
    found: Option<String>,
    /// The key with which it enrolls.
    #[serde(default)]
    enrollment_key: Option<EnrollmentKeyId>,
    why: Option<Why>,
}

impl Making {
    /// The state a saga begins with.
    pub fn of(operation: OperationId, host: &Host, input: &Create, enrollment_key: Option<EnrollmentKeyId>) -> Self {
        Self {
            operation,
            host: host.id.clone(),
            hostname: host.hostname.clone(),
            disk_gb: input.disk_gb,
            preserve: input.preserve_on_failure,
            cloud_ref: None,
            login_user: None,
            refused: false,
            deadline: None,
            looked_at: None,
            fault_since: None,
            address: None,
            found: None,
            enrollment_key,
            why: None,
        }
    }
}

/// Some faults clear by themselves; one that lasts this long does not.
const FAULT_MS: i64 = 60_000;

/// The saga.
pub struct CreateHost;

impl Saga<App> for CreateHost {
    const KIND: &'static str = "host.create";
    const STEP_TIMEOUT: Duration = Duration::from_secs(180);
    type State = Making;
    fn steps() -> Steps<App, Making> {
        Steps::new().then(Begin).then(Order).then(Boot).then(Enroll).then(Finish)
    }
}

struct Begin;
impl Step<App, Making> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        operation::started(app, tx, &making.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        outside::why(app, job, &mut making.why).await
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        let why = making.why.clone().unwrap_or_default();
        if making.kept() {
            if let Some(mut host) = table::get(tx, &making.host).await? {
                host.state = HostState::Error;
                host.problem = why.error.clone();
                host.updated_at = app.now();
                table::update(tx, &host).await?;
            }
        } else {
            table::delete(tx, &making.host).await?;
        }
        if let Some(key) = &making.enrollment_key {
            reeve_store::enrollment_key::delete(tx, key).await?;
        }
        operation::undone(app, tx, &making.operation, &why).await
    }
}

impl Making {
    /// Whether the half-made machine is to stay.
    fn kept(&self) -> bool {
        self.preserve && self.cloud_ref.is_some()
    }
}

struct Order;
impl Step<App, Making> for Order {
    fn name(&self) -> &'static str {
        "order"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        let (host, workspace) = must(app, &making.host).await?;
        if host.provider == ADOPTED {
            return Ok(());
        }
        let account = account_of(app, &host, &workspace).await?;
        let user_data = match &making.enrollment_key {
            Some(key) => enroll::user_data(app, key).await?,
            None => None,
        };
        let more = More { disk_gb: making.disk_gb, user_data };
        let order = spec::order(app, &workspace, &host, more).await?;
        say(job, &format!("ordering {} ({}) in {} from {}", host.hostname, host.plan, host.zone, host.provider));
        let created = account.cloud.create(&order).await.map_err(|error| {
            making.refused = !error.is_passing();
            failure(&*account.cloud, error)
        })?;
        making.refused = false;
        making.cloud_ref = Some(created.server.id.0.clone());
        making.login_user = Some(created.login_user);
        let again = if created.found { "found the machine of an earlier order" } else { "ordered" };
        say(job, &format!("{again}: {}", created.server.id));
        for surplus in &created.surplus {
            say(job, &format!("deleting {surplus}, which the same order made a second time"));
            if !outside::remove(&*account.cloud, surplus).await? {
                return Err(Failure::wait(pause(app, &*account.cloud), "a surplus machine is being deleted"));
            }
        }
        Ok(())
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        let mut host = table::get(tx, &making.host).await?.ok_or_else(|| Error::not_found("server"))?;
        host.cloud_ref.clone_from(&making.cloud_ref);
        if let Some(user) = &making.login_user {
            host.ssh_user.clone_from(user);
        }
        host.updated_at = app.now();
        table::update(tx, &host).await?;
        Ok(())
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        let Some((host, workspace)) = outside::host(app, &making.host).await? else { return Ok(()) };
        if host.provider == ADOPTED || making.refused || making.kept() {
            return Ok(());
        }
        let account = account_of(app, &host, &workspace).await?;
        let cloud = &*account.cloud;
        let poll = pause(app, cloud);
        let mut machines: Vec<CloudServerId> = match &host.operation_tag {
            Some(tag) => outside::tagged(cloud, tag).await?.into_iter().map(|server| server.id).collect(),
            None => Vec::new(),
        };
        for known in [&making.cloud_ref, &host.cloud_ref].into_iter().flatten() {
            let known = CloudServerId(known.clone());
            if !machines.contains(&known) {
                machines.push(known);
            }
        }
        if machines.is_empty() {
            // An order whose answer was lost may become visible yet.
            let settle = Duration::from_millis(cloud.settle_ms());
            let first = *making.looked_at.get_or_insert(app.now());
            let left_ms = cloud.settle_ms() as i64 - app.now().ms_since(first);
            if left_ms > 0 {
                let after = Duration::from_millis(left_ms as u64).min(settle);
                return Err(Failure::wait(after, "an order without an answer may become visible yet"));
            }
            return Ok(());
        }
        making.looked_at = None;
        for machine in &machines {
            say(job, &format!("taking {machine} back"));
            if !outside::remove(cloud, machine).await? {
                return Err(Failure::wait(poll, format!("{machine} is being deleted")));
            }
        }
        making.cloud_ref = None;
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        if making.kept() {
            return Ok(());
        }
        if let Some(mut host) = table::get(tx, &making.host).await? {
            host.cloud_ref = None;
            host.updated_at = app.now();
            table::update(tx, &host).await?;
        }
        Ok(())
    }
}

struct Boot;
impl Step<App, Making> for Boot {
    fn name(&self) -> &'static str {
        "boot"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        let (host, workspace) = must(app, &making.host).await?;
        if host.provider == ADOPTED {
            return adopt(app, job, making, &host).await;
        }
        if outside::is_cancelled(app, &making.operation).await? {
            return Err(Failure::Fail(Error::conflict("the operation was cancelled")));
        }
        let now = app.now();
        let patience_ms = app.config.provisioning.boot_patience.as_millis() as i64;
        let deadline = *making.deadline.get_or_insert(now.plus_ms(patience_ms));
        let account = account_of(app, &host, &workspace).await?;
        let id = CloudServerId(host.cloud_ref.clone().unwrap_or_default());
        let (server, doubles) = self.look(app, &account, &host, &id).await?;
        for double in doubles {
            say(job, &format!("deleting {double}, which the same order made a second time"));
            if !outside::remove(&*account.cloud, &double).await? {
                return Err(Failure::wait(pause(app, &*account.cloud), "a surplus machine is being deleted"));
            }
        }
        let faulty = server.as_ref().is_some_and(|server| server.state == ServerState::Failed);
        making.fault_since = faulty.then(|| making.fault_since.unwrap_or(now));
        let lasting = making.fault_since.is_some_and(|since| now.ms_since(since) >= FAULT_MS);
        match server.as_ref().map(|server| (server.state, server.address())) {
            Some((ServerState::Running, Some(address))) => {
                say(job, &format!("{} is up at {address}", host.hostname));
                making.address = Some(address.to_string());
                Ok(())
            }
            Some((ServerState::Deleting, _)) => {
                Err(Failure::Fail(Error::conflict("the provider deletes the machine, and nobody here asked for it")))
            }
            Some((ServerState::Failed, _)) if lasting => {
                Err(Failure::Fail(Error::conflict("the provider tells of a fault of the machine that does not pass")))
            }
            _ if now >= deadline => {
                let state = server.map_or("gone".to_owned(), |server| server.state.to_string());
                let minutes = patience_ms / 60_000;
                Err(Failure::Fail(Error::conflict(format!("the machine was {state} after {minutes} minutes"))))
            }
            None => Err(Failure::wait(pause(app, &*account.cloud), "the machine is not visible yet")),
            Some(_) => Err(Failure::wait(pause(app, &*account.cloud), "the machine is not up yet")),
        }
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        let mut host = table::get(tx, &making.host).await?.ok_or_else(|| Error::not_found("server"))?;
        host.address.clone_from(&making.address);
        if let Some(plan) = making.found.clone().filter(|_| host.plan == spec::AS_IT_IS) {
            host.plan = plan;
        }
        host.updated_at = app.now();
        table::update(tx, &host).await?;
        Ok(())
    }
    // It only looked: what is to be taken back is the order.
    async fn undo(&self, _: &Arc<App>, _: &Running, _: &mut Making) -> Result<(), Failure> {
        Ok(())
    }
}

/// Logs in on a machine that is there already, pins its key and asks what it is. A machine that cannot be reached is not
/// adopted.
async fn adopt(app: &App, job: &Running, making: &mut Making, host: &Host) -> Result<(), Failure> {
    say(job, &format!("looking at {} as {}", host.address.as_deref().unwrap_or_default(), host.ssh_user));
    let facts = super::facts(app, host).await.map_err(Failure::Fail)?;
    let root = if facts.root { "root" } else { "no root" };
    let title = if facts.os_title.is_empty() { &facts.os } else { &facts.os_title };
    say(job, &format!("it is {} ({title}, {}, {root})", facts.hostname, facts.architecture));
    if let (Some(cpu), Some(memory)) = (facts.cpu_cores, facts.memory_mib) {
        making.found = Some(format!("{cpu}xCPU-{}GB", memory.div_ceil(1024)));
    }
    making.address.clone_from(&host.address);
    Ok(())
}

impl Boot {
    /// The machine as in the list that all operations on the account share; alone only for the address that a list leaves
    /// out. None while it may be too young to be seen. And whatever else carries its tag: an order that was slow to show.
    async fn look(
        &self,
        app: &App,
        account: &crate::credential::Account,
        host: &Host,
        id: &CloudServerId,
    ) -> Result<(Option<CloudServer>, Vec<CloudServerId>), Failure> {
        let cloud = &*account.cloud;
        let max_age_ms = pause(app, cloud).as_millis() as i64;
        let (_, servers) = catalogue::sighted(app, account, max_age_ms).await.map_err(|e| failure(cloud, e))?;
        let ours = |server: &&CloudServer| {
            server.id != *id && server.labels.get(OPERATION_LABEL) == host.operation_tag.as_ref()
        };
        let doubles = servers.iter().filter(ours).map(|server| server.id.clone()).collect();
        let alone = async |gone: Result<Option<CloudServer>, Failure>| match cloud.get(id).await {
            Ok(server) => Ok(Some(server)),
            Err(error) if error.kind == CloudErrorKind::NotFound => gone,
            Err(error) => Err(failure(cloud, error)),
        };
        let server = match servers.iter().find(|server| server.id == *id) {
            Some(server) if server.state == ServerState::Running && server.addresses.is_none() => {
                alone(Ok(None)).await?
            }
            Some(server) => Some(server.clone()),
            None if app.now().ms_since(host.updated_at) <= cloud.settle_ms() as i64 => None,
            None => {
                let gone = Error::conflict("the machine is gone, and nobody here deleted it");
                alone(Err(Failure::Fail(gone))).await?
            }
        };
        Ok((server, doubles))
    }
}

struct Enroll;
impl Step<App, Making> for Enroll {
    fn name(&self) -> &'static str {
        "enroll"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        if making.enrollment_key.is_none() {
            return Ok(());
        }
        if outside::is_cancelled(app, &making.operation).await? {
            return Err(Failure::Fail(Error::conflict("the operation was cancelled")));
        }
        let (host, _) = must(app, &making.host).await?;
        if let Some(node) = &host.node_id {
            say(job, &format!("{} is node {node}", host.hostname));
            return Ok(());
        }
        if making.deadline.is_some_and(|deadline| app.now() >= deadline) {
            return Err(Failure::Fail(Error::conflict("the machine is up, but its agent did not enroll in time")));
        }
        Err(Failure::wait(app.config.provisioning.poll, "the agent of the machine has not enrolled yet"))
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, making: &mut Making) -> Result<(), Failure> {
        let Some((host, _)) = outside::host(app, &making.host).await? else { return Ok(()) };
        if making.kept() {
            return Ok(());
        }
        outside::forget_node(app, job, &host).await
    }
}

struct Finish;
impl Step<App, Making> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        let mut host = table::get(tx, &making.host).await?.ok_or_else(|| Error::not_found("server"))?;
        host.state = HostState::Running;
        host.problem = None;
        host.updated_at = app.now();
        table::update(tx, &host).await?;
        let result = json!({
            "server_id": host.handle, "hostname": host.hostname, "ip_address": host.address,
            "ssh_user": host.ssh_user, "ssh_port": host.ssh_port, "node_id": host.node_id,
        });
        let told = event::of_host(event::HOST_CREATED, &host);
        operation::completed(app, tx, &making.operation, &result).await?;
        reeve_store::event::append(tx, &*app.ids, app.now(), &[told]).await?;
        Ok(())
    }
    // The row's state is taken back with the row, by the first step.
    async fn undo(&self, _: &Arc<App>, _: &Running, _: &mut Making) -> Result<(), Failure> {
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, making: &mut Making) -> Result<(), Failure> {
        table::set_state(tx, &making.host, &[HostState::Running], HostState::Creating, app.now()).await?;
        Ok(())
    }
}
