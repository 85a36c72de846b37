//! Installing a taskserv with what it requires, or giving one another configuration: phase by phase on all its machines,
//! and taken away again where it fails.
//!
//! Phases are idempotent: after a crash the taskserv that was under way goes through all of its phases once more. What is
//! finished is kept in the state and not touched again. An upgrade that fails goes through them once more too, with what
//! was there before: settings, programs and packages, which machines keep for the length of a change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reeve_jobs::{Failure, Running, Saga, Step, Steps};
use reeve_store::{Tx, taskserv as table};
use reeve_taskservs::{Bundle, Change, Facts, Phase, Report, Rollout, Settings};
use reeve_types::taskserv::{Taskserv, TaskservState};
use reeve_types::{Error, HostId, OperationId, Result, Secret, TaskservId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::machine::{self, Ground, Lines, Site, Visit, not_cancelled, noted};
use super::{AT_ONCE, aad, layers, world};
use crate::operation::{self, Why};
use crate::{App, event};

type Facets = BTreeMap<String, String>;

/// One taskserv of an installation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    taskserv: TaskservId,
    handle: String,
    name: String,
    hosts: Vec<HostId>,
    chosen: BTreeMap<String, Facets>,
    /// What each machine told, once it is installed.
    facts: BTreeMap<String, Facets>,
}

impl Part {
    /// Before anything is done.
    pub fn of(taskserv: &Taskserv, hosts: Vec<HostId>, chosen: BTreeMap<String, Facets>) -> Self {
        let (id, handle, name) = (taskserv.id.clone(), taskserv.handle.clone(), taskserv.name.clone());
        Self { taskserv: id, handle, name, hosts, chosen, facts: BTreeMap::new() }
    }
}

/// What the steps share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installing {
    operation: OperationId,
    /// Handle of the one that was asked for.
    asked: String,
    /// In order.
    parts: Vec<Part>,
    /// How many of them are installed.
    done: usize,
    /// For an upgrade: what it shall be, sealed like the taskserv's own settings.
    upgrade: Option<String>,
    preserve: bool,
    warnings: Vec<String>,
    why: Option<Why>,
    /// For an upgrade: how its row stood.
    #[serde(default)]
    before: Option<TaskservState>,
}

impl Installing {
    /// The state an installation begins with.
    pub fn of(operation: OperationId, asked: String, parts: Vec<Part>, preserve: bool) -> Self {
        let (upgrade, before, why) = (None, None, None);
        Self { operation, asked, parts, done: 0, upgrade, preserve, warnings: Vec::new(), why, before }
    }

    /// The state an upgrade begins with.
    pub fn upgrade(
        operation: OperationId,
        taskserv: &Taskserv,
        hosts: Vec<HostId>,
        sealed: String,
        keep: bool,
    ) -> Self {
        let part = Part::of(taskserv, hosts, BTreeMap::new());
        let state = Self::of(operation, taskserv.handle.clone(), vec![part], keep);
        Self { upgrade: Some(sealed), before: Some(taskserv.state), ..state }
    }
}

/// The saga.
pub struct InstallTaskserv;

impl Saga<App> for InstallTaskserv {
    const KIND: &'static str = "taskserv.install";
    // The longest phase on a hundred machines, ten at once.
    const STEP_TIMEOUT: Duration = Duration::from_secs(3 * 3600);
    type State = Installing;
    fn steps() -> Steps<App, Installing> {
        Steps::new().then(Begin).then(Install).then(Finish)
    }
}

struct Begin;
impl Step<App, Installing> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Installing) -> Result<(), Failure> {
        for part in &state.parts {
            table::set_state(tx, &part.taskserv, &[], TaskservState::Installing, app.now()).await?;
        }
        operation::started(app, tx, &state.operation).await
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, state: &mut Installing) -> Result<(), Failure> {
        state.why = Some(operation::why(app, job).await?);
        Ok(())
    }
    async fn record_undo(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Installing) -> Result<(), Failure> {
        for part in &state.parts {
            let left = match &state.upgrade {
                _ if state.preserve => Some(TaskservState::Failed),
                Some(_) => Some(state.before.unwrap_or(TaskservState::Running)),
                None => None,
            };
            match left {
                Some(left) => _ = table::set_state(tx, &part.taskserv, &[], left, app.now()).await?,
                None => _ = table::delete(tx, &part.taskserv).await?,
            }
        }
        operation::undone(app, tx, &state.operation, &state.why.clone().unwrap_or_default()).await
    }
}

struct Install;
impl Step<App, Installing> for Install {
    fn name(&self) -> &'static str {
        "install"
    }
    async fn run(&self, app: &Arc<App>, job: &Running, state: &mut Installing) -> Result<(), Failure> {
        let total = state.parts.len() as u64;
        while state.done < state.parts.len() {
            not_cancelled(app, &state.operation).await?;
            job.meter.set(state.done as u64, Some(total));
            let index = state.done;
            let told = carry_out(app, job, state, index, Way::There).await?;
            for (hostname, report) in told {
                state.warnings.extend(report.warnings.into_iter().map(|text| format!("{hostname}: {text}")));
                state.parts[index].facts.insert(hostname, report.facts);
            }
            state.warnings.truncate(100);
            state.done += 1;
            if state.done < state.parts.len() {
                // What is finished is stored before the next begins.
                return Err(Failure::wait(Duration::ZERO, format!("{} is installed", state.parts[index].name)));
            }
        }
        Ok(())
    }
    async fn undo(&self, app: &Arc<App>, job: &Running, state: &mut Installing) -> Result<(), Failure> {
        if state.preserve {
            job.output.line("what was made stays, as was asked");
            return Ok(());
        }
        if state.upgrade.is_some() {
            job.output.line("going back to what was there before");
            state.done = 0;
            for index in 0..state.parts.len() {
                carry_out(app, job, state, index, Way::Back).await?;
            }
            // It was led through all phases and asked whether it is well.
            state.before = Some(TaskservState::Running);
            return Ok(());
        }
        for index in (0..state.parts.len()).rev() {
            take_away(app, job, state, index).await?;
        }
        state.done = 0;
        Ok(())
    }
}

struct Finish;
impl Step<App, Installing> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }
    async fn record(&self, app: &Arc<App>, tx: &mut Tx, state: &mut Installing) -> Result<(), Failure> {
        let mut result = json!({"warnings": state.warnings});
        let mut events = Vec::new();
        let mut along = Vec::new();
        for part in &state.parts {
            let gone = || Error::conflict(format!("taskserv {} is not known any more", part.handle));
            let mut placed = table::get(tx, &part.taskserv).await?.ok_or_else(gone)?;
            if let Some(sealed) = &state.upgrade {
                let settings = opened(app, &part.taskserv, sealed)?;
                placed.taskserv.config = layers::public(&settings)?.to_string();
                placed.taskserv.secrets_sealed = Some(sealed.clone());
            }
            let version = part.facts.values().find_map(|facts| facts.get("version"));
            if let Some(version) = version.filter(|version| !version.is_empty()) {
                placed.taskserv.version = version.chars().take(64).collect();
            }
            placed.taskserv.state = TaskservState::Running;
            placed.taskserv.updated_at = app.now();
            table::update(tx, &placed.taskserv).await?;
            events.push(event::of_taskserv(event::TASKSERV_INSTALLED, &placed));
            let servers: Vec<&String> = placed.hosts.iter().map(|(_, name)| name).collect();
            let shown = json!({
                "taskserv_id": part.handle, "name": part.name, "version": placed.taskserv.version, "servers": servers,
                "facts": part.facts,
            });
            if part.handle == state.asked {
                for (name, value) in shown.as_object().into_iter().flatten() {
                    result[name] = value.clone();
                }
            } else {
                along.push(shown);
            }
        }
        result["installed_along"] = json!(along);
        operation::completed(app, tx, &state.operation, &result).await?;
        Ok(reeve_store::event::append(tx, &*app.ids, app.now(), &events).await?)
    }
    // The row's state is taken back with the row, by the first step.
    async fn undo(&self, _: &Arc<App>, _: &Running, _: &mut Installing) -> Result<(), Failure> {
        Ok(())
    }
}

fn opened(app: &App, id: &TaskservId, sealed: &str) -> Result<Settings> {
    let text: Secret = app.seal.open(aad(id), sealed)?;
    serde_json::from_str(text.expose()).map_err(Error::internal)
}

/// Where machines are led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To what is asked for.
    There,
    /// To what an upgrade found there.
    Back,
}

impl Way {
    /// The phases of it. Whether a machine can take what it had is no question.
    fn phases(self) -> impl Iterator<Item = Phase> {
        Phase::INSTALLATION.into_iter().filter(move |phase| self == Way::There || *phase != Phase::Preflight)
    }
}

/// None when the taskserv is gone. Hosts that are gone are left out.
async fn ground(app: &App, part: &Part, wanted: Option<&str>) -> Result<Option<Ground>> {
    let mut tx = app.store.read().await?;
    let Some(row) = table::get(&mut tx, &part.taskserv).await? else { return Ok(None) };
    let hosts = reeve_store::host::of_ids(&mut tx, &part.hosts).await?;
    drop(tx);
    let settings = match wanted {
        Some(sealed) => opened(app, &part.taskserv, sealed)?,
        None => world::settings(app, &row.taskserv)?,
    };
    let placed = machine::placed(app, &row.taskserv.workspace_id).await?;
    Ground::of(settings, hosts, placed).map(Some)
}

/// All phases of one part on all its machines.
async fn carry_out(
    app: &App,
    job: &Running,
    state: &Installing,
    index: usize,
    way: Way,
) -> Result<BTreeMap<String, Report>, Failure> {
    let part = &state.parts[index];
    let gone = || Error::conflict(format!("{} or a server of it is not known any more", part.name));
    let wanted = state.upgrade.as_deref().filter(|_| way == Way::There);
    let ground = ground(app, part, wanted).await?.ok_or_else(gone)?;
    if ground.hosts.len() != part.hosts.len() {
        return Err(Failure::Fail(gone()));
    }
    let absent = || Error::conflict("the catalogue has no such taskserv");
    let definition = ground.catalogue.get(&part.name).ok_or_else(absent)?;
    let all: Vec<usize> = (0..ground.hosts.len()).collect();
    let groups: Vec<&[usize]> = match definition.rollout {
        Rollout::Together => vec![&all],
        Rollout::FirstThenRest => all.split_at_checked(1).map_or_else(Vec::new, |(first, rest)| vec![first, rest]),
    };
    let (mut exports, mut reports) = (Facets::new(), BTreeMap::new());
    let chosen = match state.upgrade {
        Some(_) => ground.chosen(),
        None => part.chosen.clone(),
    };
    let id = state.operation.as_str();
    let change = if way == Way::Back { Change::Back(id) } else { Change::Under(id) };
    for (turn, group) in groups.into_iter().filter(|group| !group.is_empty()).enumerate() {
        let site = Site { ground: &ground, chosen: &chosen, exports: &exports, purge: false, change };
        let mut works: Vec<Work<'_>> = group.iter().map(|host| Work::of(&site, *host)).collect();
        for (order, phase) in way.phases().enumerate() {
            let mut position = (index * 100 + order) as i64;
            match way {
                // A cancel is why it goes back.
                Way::Back => position += BACK,
                Way::There => not_cancelled(app, &state.operation).await?,
            }
            together(app, job, &state.operation, position, &mut works, phase).await?;
            job.got_on((index * 100 + turn * 50 + order) as u64).await?;
        }
        let mut told = Facets::new();
        for work in works {
            told.extend(work.report.exports.clone());
            reports.insert(ground.hosts[work.index].hostname.clone(), work.report);
        }
        exports.extend(told);
    }
    Ok(reports)
}

/// One machine on its way through the phases.
struct Work<'a> {
    site: &'a Site<'a>,
    index: usize,
    visit: Option<Visit<'a>>,
    facts: Facts,
    bundle: Option<Bundle>,
    report: Report,
}

impl<'a> Work<'a> {
    fn of(site: &'a Site<'a>, index: usize) -> Self {
        Self { site, index, visit: None, facts: Facts::default(), bundle: None, report: Report::default() }
    }

    async fn phase(&mut self, app: &App, job: &Running, phase: Phase) -> Result<()> {
        let host = &self.site.ground.hosts[self.index];
        if self.visit.is_none() {
            self.visit = Some(Visit::begin(app, host).await?);
        }
        let Some(visit) = &self.visit else { return Ok(()) };
        if phase == Phase::Resolve {
            self.facts = visit.facts().await?;
            return Ok(());
        }
        if self.bundle.is_none() {
            self.bundle = Some(self.site.bundle(self.index, &self.facts)?);
        }
        let Some(bundle) = &self.bundle else { return Ok(()) };
        match phase {
            Phase::Resolve | Phase::Render => Ok(()),
            Phase::Upload => visit.upload(bundle).await,
            _ => {
                let prefix = format!("{} {} {phase} | ", host.hostname, bundle.name);
                let lines = Lines::logged(self.site.ground.redactor(), job, prefix);
                let report = visit.run(bundle, phase, false, lines).await?;
                self.report.facts.extend(report.facts);
                self.report.exports.extend(report.exports);
                self.report.warnings.extend(report.warnings);
                Ok(())
            }
        }
    }
}

/// Where the phases of a way back stand among all.
const BACK: i64 = 10_000;

/// One phase on all machines, some at once. The first refusal that another try cannot help counts before the others.
async fn together(
    app: &App,
    job: &Running,
    operation: &OperationId,
    position: i64,
    works: &mut [Work<'_>],
    phase: Phase,
) -> Result<(), Failure> {
    let mut all: Vec<futures::future::BoxFuture<'_, Result<()>>> = Vec::new();
    for work in works {
        let Ground { hosts, settings, .. } = work.site.ground;
        // What failed on the way there stays visible.
        let way = if position >= BACK { "undo " } else { "" };
        let name = format!("{}/{}/{way}{phase}", hosts[work.index].hostname, settings.name);
        all.push(Box::pin(noted(app, operation, (position, name), work.phase(app, job, phase))));
    }
    let mut running = futures::stream::iter(all).buffer_unordered(AT_ONCE);
    let mut failed: Option<Failure> = None;
    while let Some(done) = running.next().await {
        if let Err(error) = done {
            let failure = Failure::from(error);
            let worse = matches!((&failed, &failure), (Some(Failure::Retry { .. }), Failure::Fail(_)));
            if failed.is_none() || worse {
                failed = Some(failure);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Takes one part off all its machines.
async fn take_away(app: &App, job: &Running, state: &Installing, index: usize) -> Result<(), Failure> {
    let part = &state.parts[index];
    let Some(ground) = ground(app, part, None).await? else { return Ok(()) };
    remove_from(app, job, &state.operation, &ground, true, BACK).await
}

/// Runs the removal on its machines.
pub(super) async fn remove_from(
    app: &App,
    job: &Running,
    operation: &OperationId,
    ground: &Ground,
    purge: bool,
    position: i64,
) -> Result<(), Failure> {
    let (chosen, exports) = (ground.chosen(), Facets::new());
    let site = Site { ground, chosen: &chosen, exports: &exports, purge, change: Change::None };
    let Ground { settings, hosts, .. } = ground;
    let one = async |index: usize| -> Result<()> {
        let host = &hosts[index];
        let name = format!("{}/{}/{}", host.hostname, settings.name, Phase::Remove);
        let work = async {
            let visit = Visit::begin(app, host).await?;
            let bundle = site.bundle(index, &visit.facts().await?)?;
            let prefix = format!("{} {} {} | ", host.hostname, settings.name, Phase::Remove);
            let lines = Lines::logged(ground.redactor(), job, prefix);
            visit.run(&bundle, Phase::Remove, true, lines).await.map(|_| ())
        };
        noted(app, operation, (position, name), work).await
    };
    let mut running =
        futures::stream::iter((0..hosts.len()).map(|index| Box::pin(one(index)))).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(done) = running.next().await {
        if let Err(error) = done {
            failed.get_or_insert(error);
        }
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(Failure::from(error)),
    }
}
