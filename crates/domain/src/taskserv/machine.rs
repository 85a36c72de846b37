//! One taskserv on one machine: asked what it is, given a bundle, led through a phase.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Failure, Running};
use reeve_ports::remote::{OutputSink, Pipe, RemoteHost, RemoteOrder};
use reeve_store::{operation_phase, taskserv as table};
use reeve_taskservs::{
    Bundle, Catalogue, Change, Facts, Machine, PROBE, Phase, Redactor, RenderInput, Report, Settings, render,
};
use reeve_types::host::Host;
use reeve_types::operation::PhaseState;
use reeve_types::{Error, OperationId, Result};

use super::{MOST, layers, world};
use crate::{App, host};

/// Bytes of one phase on one machine that go into the log.
const MOST_OUTPUT: u64 = 64 * 1024;

/// A taskserv with everything of it that is needed on its machines.
pub(super) struct Ground {
    /// As it was for these settings.
    pub catalogue: Arc<Catalogue>,
    pub settings: Settings,
    /// The first one first.
    pub hosts: Vec<Host>,
    /// Where the taskservs of the workspace are, by name.
    pub placed: BTreeMap<String, Vec<Machine>>,
}

impl Ground {
    pub fn of(settings: Settings, hosts: Vec<Host>, placed: BTreeMap<String, Vec<Machine>>) -> Result<Self> {
        Ok(Self { catalogue: layers::of(&settings)?, settings, hosts, placed })
    }

    /// Which of the alternatives it requires it stands on, for each of its machines: the first that is there.
    pub fn chosen(&self) -> Chosen {
        let mut all = Chosen::new();
        let definition = self.catalogue.get(&self.settings.name);
        for dependency in definition.into_iter().flat_map(|definition| &definition.depends) {
            let Some(role) = &dependency.role else { continue };
            for host in &self.hosts {
                let on = |option: &&String| {
                    let machines = self.placed.get(*option);
                    machines.is_some_and(|machines| machines.iter().any(|m| m.hostname == host.hostname))
                };
                if let Some(option) = dependency.on.iter().find(on) {
                    all.entry(host.hostname.clone()).or_default().insert(role.clone(), option.clone());
                }
            }
        }
        all
    }

    /// Takes the secrets out of what machines say.
    pub fn redactor(&self) -> Redactor {
        self.settings.redactor(&self.catalogue)
    }
}

/// Machine -> role -> taskserv.
pub(super) type Chosen = BTreeMap<String, BTreeMap<String, String>>;

/// What bundles are made from.
pub(super) struct Site<'a> {
    pub ground: &'a Ground,
    pub chosen: &'a Chosen,
    pub exports: &'a BTreeMap<String, String>,
    pub purge: bool,
    /// The change that the machines are led through.
    pub change: Change<'a>,
}

impl Site<'_> {
    pub fn machines(&self) -> Vec<Machine> {
        let machine = |host: &Host| Machine {
            hostname: host.hostname.clone(),
            address: host.address.clone().unwrap_or_default(),
        };
        self.ground.hosts.iter().map(machine).collect()
    }

    /// The bundle for one of the machines.
    pub fn bundle(&self, index: usize, facts: &Facts) -> Result<Bundle> {
        let Ground { catalogue, settings, hosts, placed } = self.ground;
        let machines = self.machines();
        let none = BTreeMap::new();
        let chosen = hosts.get(index).and_then(|host| self.chosen.get(&host.hostname)).unwrap_or(&none);
        render(&RenderInput {
            catalogue,
            settings,
            index,
            machines: &machines,
            facts,
            chosen,
            placed,
            exports: self.exports,
            purge: self.purge,
            change: self.change,
        })
        .map_err(world::refused)
    }
}

/// Where the taskservs of a workspace are, by name.
pub(super) async fn placed(app: &App, workspace: &reeve_types::WorkspaceId) -> Result<BTreeMap<String, Vec<Machine>>> {
    let mut tx = app.store.read().await?;
    let mut all: BTreeMap<String, Vec<Machine>> = BTreeMap::new();
    let filter = reeve_types::host::HostFilter { workspace_id: Some(workspace.clone()), ..Default::default() };
    let hosts = reeve_store::host::list(&mut tx, &filter, MOST).await?;
    let addresses: BTreeMap<_, _> = hosts.into_iter().map(|host| (host.id, host.address)).collect();
    for one in table::list(&mut tx, Some(workspace), MOST).await? {
        for (id, hostname) in one.hosts {
            if let Some(address) = addresses.get(&id).cloned().flatten() {
                all.entry(one.taskserv.name.clone()).or_default().push(Machine { hostname, address });
            }
        }
    }
    Ok(all)
}

/// A machine with its connection.
pub(super) struct Visit<'a> {
    pub host: &'a Host,
    pub login: Arc<dyn RemoteHost>,
}

impl<'a> Visit<'a> {
    pub async fn begin(app: &App, host: &'a Host) -> Result<Self> {
        Ok(Self { host, login: host::contact(app, host).await? })
    }

    /// What the machine is.
    pub async fn facts(&self) -> Result<Facts> {
        let mut sink = Lines::quiet();
        let order = RemoteOrder::script(PROBE).with_timeout(limit(Phase::Resolve));
        let outcome = self.login.run(&order, &mut sink).await?;
        sink.end();
        if outcome.is_success() {
            return Ok(Facts::parse(&sink.text));
        }
        Err(Error::conflict(format!("{} does not say what it is ({})", self.host.hostname, outcome.end)))
    }

    /// Carries the bundle there.
    pub async fn upload(&self, bundle: &Bundle) -> Result<()> {
        let archive = bundle.archive().map_err(Error::internal)?;
        let digest = Bundle::checksum(&archive);
        let order = RemoteOrder { stdin: archive.into(), ..RemoteOrder::new(self.words(bundle.unpack(&digest))) };
        let mut sink = Lines::quiet();
        let outcome = self.login.run(&order.with_timeout(limit(Phase::Upload)), &mut sink).await?;
        sink.end();
        if outcome.is_success() { Ok(()) } else { Err(self.failed(Phase::Upload, &sink, &outcome.end.to_string())) }
    }

    /// Runs a phase of the unpacked bundle, or all of it as one script that leaves nothing behind.
    pub async fn run(&self, bundle: &Bundle, phase: Phase, inline: bool, mut sink: Lines<'_>) -> Result<Report> {
        let order = if inline {
            let script = bundle.inline(phase).ok_or_else(|| Error::internal("a phase without a script"))?;
            RemoteOrder { stdin: script.into(), ..RemoteOrder::new(self.words(bundle.inline_command(phase))) }
        } else {
            RemoteOrder::new(self.words(bundle.command(phase)))
        };
        let order = RemoteOrder { output_bytes: 8 * MOST_OUTPUT, ..order }.with_timeout(limit(phase));
        let outcome = self.login.run(&order, &mut sink).await?;
        sink.end();
        if outcome.is_success() {
            return Ok(sink.report);
        }
        Err(self.failed(phase, &sink, &outcome.end.to_string()))
    }

    /// As root.
    fn words(&self, words: Vec<String>) -> Vec<String> {
        if self.host.ssh_user == "root" {
            return words;
        }
        ["sudo", "-n"].map(str::to_owned).into_iter().chain(words).collect()
    }

    fn failed(&self, phase: Phase, sink: &Lines<'_>, end: &str) -> Error {
        let why = match sink.report.problems.as_slice() {
            [] => format!("{} ({end})", sink.last),
            problems => problems.join("; "),
        };
        Error::conflict(format!("{phase} on {}: {why}", self.host.hostname))
    }
}

fn limit(phase: Phase) -> Duration {
    Duration::from_secs(phase.limit_secs())
}

/// Cuts output into lines, takes the secrets out, reads what is marked and logs the rest, up to a limit.
pub(super) struct Lines<'a> {
    redactor: Redactor,
    log: Option<(&'a Running, String)>,
    pending: [Vec<u8>; 2],
    left: u64,
    pub report: Report,
    pub text: String,
    last: String,
}

impl<'a> Lines<'a> {
    /// Only kept.
    pub fn quiet() -> Self {
        Self::new(Redactor::default(), None)
    }

    /// Logged, each line behind `prefix`.
    pub fn logged(redactor: Redactor, job: &'a Running, prefix: String) -> Self {
        Self::new(redactor, Some((job, prefix)))
    }

    fn new(redactor: Redactor, log: Option<(&'a Running, String)>) -> Self {
        let (report, text, last) = (Report::default(), String::new(), String::new());
        Self { redactor, log, pending: [Vec::new(), Vec::new()], left: MOST_OUTPUT, report, text, last }
    }

    /// Kept, with the secrets taken out.
    pub fn clean(redactor: Redactor) -> Self {
        Self::new(redactor, None)
    }

    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = self.redactor.clean(line.trim_end_matches('\r'));
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').take(2_000).collect();
        self.report.line(&line);
        if !line.trim().is_empty() {
            self.last = line.chars().take(500).collect();
        }
        let bytes = line.len() as u64 + 1;
        if bytes > self.left {
            if self.left > 0 {
                self.left = 0;
                if let Some((job, prefix)) = &self.log {
                    job.output.line(&format!("{prefix}...the rest is left out"));
                }
            }
            return;
        }
        self.left -= bytes;
        match &self.log {
            Some((job, prefix)) => job.output.line(&format!("{prefix}{line}")),
            None => {
                self.text.push_str(&line);
                self.text.push('\n');
            }
        }
    }

    fn end(&mut self) {
        for rest in std::mem::take(&mut self.pending) {
            if !rest.is_empty() {
                self.line(&rest);
            }
        }
    }
}

impl OutputSink for Lines<'_> {
    fn write(&mut self, pipe: Pipe, bytes: &[u8]) {
        let at = usize::from(pipe == Pipe::Stderr);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.pending[at]);
            line.extend_from_slice(&rest[..end]);
            self.line(&line);
            rest = &rest[end + 1..];
        }
        self.pending[at].extend_from_slice(rest);
        // A line without an end is cut, so that it is bounded too; secrets are shorter.
        if self.pending[at].len() > 16 * 1024 {
            let line = std::mem::take(&mut self.pending[at]);
            self.line(&line);
        }
    }
}

/// Notes a phase on a machine in the operation's rows: begun, done or failed.
pub(super) async fn noted<T>(
    app: &App,
    operation: &OperationId,
    (position, name): (i64, String),
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut tx = app.store.begin().await?;
    operation_phase::begin(&mut tx, operation, &name, position, app.now()).await?;
    tx.commit().await?;
    let done = work.await;
    let (state, detail) = match &done {
        Ok(_) => (PhaseState::Done, None),
        Err(error) => (PhaseState::Failed, Some(error.to_string())),
    };
    let mut tx = app.store.begin().await?;
    operation_phase::end(&mut tx, operation, &name, state, detail.as_deref(), app.now()).await?;
    tx.commit().await?;
    done
}

/// Whether somebody called the operation off.
pub(super) async fn not_cancelled(app: &App, id: &OperationId) -> Result<(), Failure> {
    let found = reeve_store::operation::get(&mut app.store.read().await?, id).await?;
    if found.is_none_or(|found| found.status.is_final()) {
        return Err(Failure::Fail(Error::conflict("the operation was cancelled")));
    }
    Ok(())
}
