//! Virtual agents: they speak the real protocol over real TLS sockets, but run nothing.
//!
//! For benchmarks, tests and rehearsals of thousands of nodes from one process. Each virtual agent is one task, one
//! socket and a key pair; results are kept until the server acknowledges them, so reconnects behave as with real ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reeve_agent_proto::backoff::full_jitter;
use reeve_agent_proto::message::{
    Accepted, Enroll, ExecutionResult, Heartbeat, Hello, Known, OutputChunk, Ports, Progress, ResultStatus, Run, Started, Sync,
};
use reeve_agent_proto::proof::{self, Purpose};
use reeve_agent_proto::{AgentEvent, AgentSession, CloseReason, EnrollmentKey};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dial::{Connection, Transfer, dial, transfer};
use crate::error::AgentError;
use crate::identity::Identity;
use crate::membership::Membership;
use crate::tls::client_config;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct SimulateOptions {
    /// Virtual agents.
    pub count: usize,
    /// Enrollment key with at least `count` uses.
    pub key: String,
    /// `host:port` instead of the key's endpoints.
    pub server: Option<String>,
    /// Random disconnects per agent and minute.
    pub churn_per_minute: f64,
    /// Time a fake command takes, on average, in milliseconds.
    pub latency_ms: u64,
    /// Share of fake commands that end with exit code 1, from 0 to 1.
    pub fail_rate: f64,
    /// Connections being set up at once.
    pub connecting: usize,
    /// Largest delay between two connection attempts, in milliseconds.
    pub reconnect_cap_ms: u64,
    /// Time between two calls of the progress callback, in milliseconds.
    pub progress_ms: u64,
    /// Time between heartbeats in milliseconds, instead of what the server says.
    pub heartbeat_ms: Option<u64>,
}

impl SimulateOptions {
    /// `count` agents that enroll with `key`, answer at once and stay connected.
    pub fn new(count: usize, key: impl Into<String>) -> Self {
        Self {
            count,
            key: key.into(),
            server: None,
            churn_per_minute: 0.0,
            latency_ms: 0,
            fail_rate: 0.0,
            connecting: 64,
            reconnect_cap_ms: 10_000,
            progress_ms: 1_000,
            heartbeat_ms: None,
        }
    }
}

/// Where the simulation stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Virtual agents that are registered.
    pub enrolled: usize,
    /// Sessions open now.
    pub connected: usize,
    /// Sessions opened so far.
    pub sessions: u64,
    /// Commands taken.
    pub accepted: u64,
    /// Results the server has acknowledged.
    pub acknowledged: u64,
    /// Connections that failed or broke, churn not counted.
    pub failures: u64,
    /// Virtual agents the server refused for good.
    pub refused: usize,
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} connected, {} enrolled, {} sessions, {} commands, {} results stored, {} failures, {} refused",
            self.connected, self.enrolled, self.sessions, self.accepted, self.acknowledged, self.failures, self.refused
        )
    }
}

#[derive(Default)]
struct Counters {
    enrolled: AtomicUsize,
    connected: AtomicUsize,
    sessions: AtomicU64,
    accepted: AtomicU64,
    acknowledged: AtomicU64,
    failures: AtomicU64,
    refused: AtomicUsize,
}

impl Counters {
    fn stats(&self) -> Stats {
        Stats {
            enrolled: self.enrolled.load(Ordering::Relaxed),
            connected: self.connected.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

struct Fleet {
    options: SimulateOptions,
    endpoints: Vec<String>,
    tls: Arc<ClientConfig>,
    counters: Counters,
    connecting: Semaphore,
    clock: Clock,
    stop: CancellationToken,
}

/// Runs the virtual agents until `stop` is cancelled or the server has refused all of them, and calls `progress` now
/// and then.
pub async fn run(
    options: SimulateOptions,
    stop: CancellationToken,
    mut progress: impl FnMut(Stats),
) -> Result<Stats, AgentError> {
    let key = EnrollmentKey::decode(&options.key)
        .map_err(|error| AgentError::new(error.to_string(), "copy the whole key from the server and try again"))?;
    let membership = Membership::from_key(&key, options.server.as_deref())?;
    let tls = client_config(&membership.pin)
        .map_err(|error| AgentError::new(format!("cannot set up TLS: {error}"), "report this as a bug"))?;
    raise_file_limit(options.count as u64 + 256)?;
    let fleet = Arc::new(Fleet {
        endpoints: membership.endpoints,
        tls,
        counters: Counters::default(),
        connecting: Semaphore::new(options.connecting.max(1)),
        clock: Clock::default(),
        stop: stop.clone(),
        options,
    });
    let mut agents = JoinSet::new();
    for _ in 0..fleet.options.count {
        let Some(identity) = Identity::ephemeral() else { continue };
        agents.spawn(VirtualAgent::new(fleet.clone(), identity).live());
    }
    let pause = Duration::from_millis(fleet.options.progress_ms.max(10));
    let mut report_at = Instant::now() + pause;
    loop {
        tokio::select! {
            ended = agents.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::error!(%error, "a virtual agent crashed"),
                None => break,
            },
            () = sleep_until(report_at) => {
                progress(fleet.counters.stats());
                report_at += pause;
            }
        }
    }
    let stats = fleet.counters.stats();
    progress(stats);
    Ok(stats)
}

/// Allows this process `wanted` open files.
pub fn raise_file_limit(wanted: u64) -> Result<(), AgentError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    let attempts = [Rlimit { current: Some(wanted), maximum }, Rlimit { current: limit.maximum, ..limit }];
    for attempt in attempts {
        if attempt.current.is_none_or(|current| current >= wanted) && setrlimit(Resource::Nofile, attempt).is_ok() {
            return Ok(());
        }
    }
    Err(AgentError::new(
        format!("this process may not open {wanted} files"),
        format!("raise the limit (ulimit -n {wanted}) or simulate fewer agents"),
    ))
}

/// How one connection of a virtual agent ended.
enum End {
    Churn,
    GoAway(Duration),
    Lost(String),
    Refused { word: String, retry_ms: u64 },
    Stopped,
}

struct VirtualAgent {
    fleet: Arc<Fleet>,
    identity: Identity,
    enrolled: bool,
    /// Fake commands that run: when they end, and which they are.
    running: VecDeque<(Instant, String)>,
    /// Results without an acknowledgement.
    finished: HashMap<String, i32>,
}

impl VirtualAgent {
    fn new(fleet: Arc<Fleet>, identity: Identity) -> Self {
        Self { fleet, identity, enrolled: false, running: VecDeque::new(), finished: HashMap::new() }
    }

    async fn live(mut self) {
        let fleet = self.fleet.clone();
        let mut attempt = 0;
        loop {
            let end = tokio::select! {
                end = self.connect() => end,
                () = fleet.stop.cancelled() => return,
            };
            let counters = &fleet.counters;
            let pause_ms = match end {
                End::Stopped => return,
                End::Churn => {
                    attempt = 0;
                    full_jitter(0, 1_000, fleet.options.reconnect_cap_ms, rand::random())
                }
                End::GoAway(after) => {
                    attempt = 0;
                    u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
                }
                End::Refused { word, retry_ms: 0 } => {
                    if counters.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::error!(reason = %word, "the server refuses virtual agents");
                    }
                    return;
                }
                End::Refused { retry_ms, .. } => retry_ms + full_jitter(0, 1_000, 1_000, rand::random()),
                End::Lost(reason) => {
                    counters.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%reason, "a virtual agent lost its connection");
                    attempt += 1;
                    full_jitter(attempt, 500, fleet.options.reconnect_cap_ms, rand::random())
                }
            };
            tokio::select! {
                () = sleep(Duration::from_millis(pause_ms)) => {}
                () = fleet.stop.cancelled() => return,
            }
        }
    }

    async fn connect(&mut self) -> End {
        let fleet = self.fleet.clone();
        let Ok(permit) = fleet.connecting.acquire().await else { return End::Stopped };
        let endpoint = &fleet.endpoints[rand::random_range(0..fleet.endpoints.len())];
        // Boxed: the handshake's state is large, and most of the time there is none.
        let connection = match Box::pin(dial(endpoint, None, &fleet.tls)).await {
            Ok(connection) => connection,
            Err(error) => return End::Lost(error.to_string()),
        };
        self.converse(connection, permit).await
    }

    async fn converse(&mut self, mut connection: Connection, permit: tokio::sync::SemaphorePermit<'_>) -> End {
        let fleet = self.fleet.clone();
        let began = Instant::now();
        let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut session = AgentSession::new(rand::random(), 0);
        let exporter = connection.exporter;
        if self.enrolled {
            self.hello(&mut session, &exporter, 0);
        } else {
            self.enroll(&mut session, &exporter);
        }
        let mut permit = Some(permit);
        let mut open = Open { counters: &fleet.counters, is_open: false };
        let mut output = Bytes::new();
        let mut go_away = None;
        let churn_at = churn_at(fleet.options.churn_per_minute);
        let own_heartbeat = fleet.options.heartbeat_ms.map(Duration::from_millis);
        let mut beat_at = own_heartbeat.map(|every| Instant::now() + every.mul_f64(rand::random()));
        loop {
            while let Some(event) = session.poll_event() {
                match event {
                    AgentEvent::Enrolled(_) => {
                        self.enrolled = true;
                        fleet.counters.enrolled.fetch_add(1, Ordering::Relaxed);
                        self.hello(&mut session, &exporter, now());
                    }
                    AgentEvent::Welcome(welcome) => {
                        permit = None;
                        open.set();
                        fleet.clock.adjust(welcome.server_time_us);
                        let finished: Vec<(String, i32)> = self.finished.iter().map(|(k, v)| (k.clone(), *v)).collect();
                        finished.into_iter().for_each(|(id, exit_code)| self.report(&mut session, id, exit_code));
                    }
                    AgentEvent::Rejected(rejected) => {
                        let retry_ms = match rejected.error.as_str() {
                            "unavailable" => rejected.retry_after_ms.max(1_000),
                            _ => rejected.retry_after_ms,
                        };
                        return End::Refused { word: rejected.error, retry_ms };
                    }
                    AgentEvent::GoAway(after_ms) => go_away = Some(Duration::from_millis(after_ms)),
                    AgentEvent::Closed(CloseReason::Rejected) => {}
                    AgentEvent::Closed(reason) => return lost(reason.to_string(), go_away),
                    AgentEvent::Run(run) => self.run(&mut session, *run),
                    AgentEvent::ResultAck(id) => {
                        if self.finished.remove(&id).is_some() {
                            fleet.counters.acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    AgentEvent::Cancel(id) => self.cancel(&mut session, id),
                    AgentEvent::Drop(id) => self.forget(&id),
                    AgentEvent::Sync(Sync { drop, cancel }) => {
                        drop.iter().for_each(|id| self.forget(id));
                        cancel.into_iter().for_each(|id| self.cancel(&mut session, id));
                    }
                    AgentEvent::Stream(_) => {}
                }
            }
            if output.is_empty() {
                output = session.take_output();
            }
            let deadline = began + Duration::from_millis(session.deadline_ms());
            let due = self.running.front().map_or(deadline, |(due, _)| *due);
            let wake = deadline.min(churn_at.unwrap_or(deadline)).min(due).min(beat_at.unwrap_or(deadline));
            let moved = tokio::select! {
                moved = transfer(&mut connection.stream, &mut output, |bytes| session.received(bytes, now())) => moved,
                () = sleep_until(wake) => {
                    session.tick(now());
                    self.finish_due(&mut session);
                    if let (Some(at), Some(every)) = (beat_at, own_heartbeat)
                        && Instant::now() >= at
                    {
                        beat_at = Some(at + every);
                        if session.is_open() {
                            session.send(Heartbeat { healthy: true, reasons: Vec::new() });
                        }
                    }
                    if churn_at.is_some_and(|at| Instant::now() >= at) {
                        return End::Churn;
                    }
                    Ok(Transfer::Moved)
                }
            };
            match moved {
                Ok(Transfer::Moved) => {}
                Ok(Transfer::Closed) => return lost("the server closed the connection".into(), go_away),
                Err(error) => return lost(error.to_string(), go_away),
            }
            drop(permit.take_if(|_| open.is_open));
        }
    }

    fn enroll(&self, session: &mut AgentSession, exporter: &[u8]) {
        let id = &self.identity;
        session.enroll(
            Enroll {
                key: self.fleet.options.key.trim().to_owned(),
                node_id: id.node_id.clone(),
                id_type: id.id_type.into(),
                public_key: id.public_key(),
                signature: proof::sign(&id.key, Purpose::Enroll, &id.node_id, exporter),
                version: crate::VERSION.to_owned(),
                ports: Some(ports()),
                facts: self.facts(),
                ..Enroll::default()
            },
            0,
        );
    }

    fn hello(&self, session: &mut AgentSession, exporter: &[u8], now_ms: u64) {
        let id = &self.identity;
        let known = |id: &String, progress: Progress| Known { execution_id: id.clone(), progress: progress.into() };
        session.hello(
            Hello {
                node_id: id.node_id.clone(),
                signature: proof::sign(&id.key, Purpose::Hello, &id.node_id, exporter),
                version: crate::VERSION.to_owned(),
                facts: self.facts(),
                ports: Some(ports()),
                known: (self.running.iter().map(|(_, id)| known(id, Progress::Started)))
                    .chain(self.finished.keys().map(|id| known(id, Progress::Finished)))
                    .collect(),
                ..Hello::default()
            },
            now_ms,
        );
    }

    fn facts(&self) -> String {
        let name = &self.identity.node_id[..8];
        format!(r#"{{"hostname":"sim-{name}","os":"simulated","arch":"none","simulated":true}}"#)
    }

    fn run(&mut self, session: &mut AgentSession, run: Run) {
        let id = run.execution_id;
        let known = self.finished.contains_key(&id) || self.running.iter().any(|(_, running)| *running == id);
        session.send(Accepted { execution_id: id.clone() });
        if known {
            return;
        }
        self.fleet.counters.accepted.fetch_add(1, Ordering::Relaxed);
        session.send(Started { execution_id: id.clone(), started_at_us: self.fleet.clock.now_us() });
        let latency = self.fleet.options.latency_ms;
        if latency == 0 {
            self.end(session, id);
        } else {
            let takes = latency / 2 + rand::random_range(0..=latency);
            let due = Instant::now() + Duration::from_millis(takes);
            let at = self.running.partition_point(|(other, _)| *other <= due);
            self.running.insert(at, (due, id));
        }
    }

    fn finish_due(&mut self, session: &mut AgentSession) {
        let now = Instant::now();
        while self.running.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, id)) = self.running.pop_front() {
                self.end(session, id);
            }
        }
    }

    fn end(&mut self, session: &mut AgentSession, id: String) {
        let failed = rand::random::<f64>() < self.fleet.options.fail_rate;
        let exit_code = i32::from(failed);
        self.finished.insert(id.clone(), exit_code);
        let (execution_id, text) = (id.clone(), self.output());
        session.send(OutputChunk { execution_id, offset: 0, text, dropped: 0 });
        self.report(session, id, exit_code);
    }

    fn cancel(&mut self, session: &mut AgentSession, id: String) {
        if self.finished.contains_key(&id) {
            return;
        }
        self.running.retain(|(_, running)| *running != id);
        self.finished.insert(id.clone(), 143);
        self.report(session, id, 143);
    }

    fn forget(&mut self, id: &str) {
        self.running.retain(|(_, running)| running != id);
        self.finished.remove(id);
    }

    fn report(&self, session: &mut AgentSession, execution_id: String, exit_code: i32) {
        let output = if exit_code == 143 { "Command cancelled\n".to_owned() } else { self.output() };
        session.send(ExecutionResult {
            execution_id,
            exit_code,
            output_bytes: output.len() as u64,
            output,
            completed_at_us: self.fleet.clock.now_us(),
            status: ResultStatus::Completed.into(),
        });
    }

    fn output(&self) -> String {
        format!("simulated {}\n", self.identity.node_id)
    }
}

/// Counts a session as open until it is dropped.
struct Open<'a> {
    counters: &'a Counters,
    is_open: bool,
}

impl Open<'_> {
    fn set(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.counters.sessions.fetch_add(1, Ordering::Relaxed);
            self.counters.connected.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.counters.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn lost(reason: String, go_away: Option<Duration>) -> End {
    go_away.map_or(End::Lost(reason), End::GoAway)
}

fn churn_at(per_minute: f64) -> Option<Instant> {
    if per_minute <= 0.0 {
        return None;
    }
    // Exponential waiting times: disconnects that do not know of each other.
    let random: f64 = rand::random::<f64>().max(1e-9);
    Some(Instant::now() + Duration::from_secs_f64((-random.ln() * 60.0 / per_minute).min(86_400.0)))
}

fn ports() -> Ports {
    crate::options::Options::new("").ports
}
