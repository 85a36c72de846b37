//! Virtual agents: they speak the real protocol over a TLS socket each, but run nothing. For benchmarks, tests and
//! users' rehearsals of a large fleet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reeve_agent_proto::backoff::{Jitter, full_jitter};
use reeve_agent_proto::message::{
    Accepted, Enroll, ExecutionResult, Heartbeat, Hello, IdType, Known, Ports, Progress, ResultStatus, Run,
    SelfUpdateAnswer, Started,
};
use reeve_agent_proto::proof::{self, Purpose};
use reeve_agent_proto::sample::{Answer, Answered, Ask, Asked, Refused, Sample};
use reeve_agent_proto::{AgentEvent, AgentSession, EnrollmentKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use crate::dial::{Connection, Transfer, dial, transfer};
use crate::error::AgentError;
use crate::membership::Membership;

mod machine;

/// Handshakes at the same time.
const DIALS: usize = 64;
/// Results kept to answer a repeated order.
const REMEMBERED: usize = 256;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// Virtual agents.
    pub count: usize,
    /// An enrollment key with that many uses.
    pub key: String,
    /// `host:port`, instead of what the key says.
    pub server: Option<String>,
    /// Connections that break per second, over all agents.
    pub churn_per_second: f64,
    /// How long a command takes.
    pub latency_ms: u64,
    /// Share of commands that end with exit code 1.
    pub fail_rate: f64,
    /// Time between heartbeats, instead of what the server says.
    pub heartbeat_ms: Option<u64>,
}

struct Fleet {
    options: SimulateOptions,
    membership: Membership,
    tls: Arc<ClientConfig>,
    dials: Semaphore,
    enrolled: AtomicUsize,
    connected: AtomicUsize,
    answered: AtomicU64,
}

/// Runs virtual agents for ever; `progress` gets a line a second while something changes.
///
/// # Errors
/// When the key cannot be used, or the server refuses to enroll an agent.
pub async fn run(options: SimulateOptions, progress: impl Fn(String)) -> Result<(), AgentError> {
    let key = EnrollmentKey::decode(&options.key)
        .map_err(|e| AgentError::new(format!("the enrollment key cannot be read: {e}"), "copy the whole key"))?;
    let membership = Membership::from_key(&key, options.server.as_deref())?;
    let tls = crate::tls::client_config(&membership.pin)
        .map_err(|e| AgentError::new(format!("TLS cannot be set up: {e}"), "check the key's pin"))?;
    let count = options.count;
    let fleet = Arc::new(Fleet {
        options,
        membership,
        tls,
        dials: Semaphore::new(DIALS),
        enrolled: AtomicUsize::new(0),
        connected: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
    });
    let mut agents = tokio::task::JoinSet::new();
    for number in 0..count {
        agents.spawn(live(fleet.clone(), number));
    }
    let mut last = String::new();
    loop {
        tokio::select! {
            Some(ended) = agents.join_next() => match ended {
                Ok(Err(error)) => return Err(error),
                Ok(Ok(())) => {}
                Err(error) => return Err(AgentError::new(format!("a virtual agent broke: {error}"), "report this")),
            },
            () = sleep(Duration::from_secs(1)) => {
                let line = format!(
                    "{} of {count} enrolled, {} connected, {} commands answered",
                    fleet.enrolled.load(Ordering::Relaxed),
                    fleet.connected.load(Ordering::Relaxed),
                    fleet.answered.load(Ordering::Relaxed),
                );
                if line != last {
                    progress(line.clone());
                    last = line;
                }
            }
        }
    }
}

/// One virtual agent.
struct Agent {
    fleet: Arc<Fleet>,
    node_id: String,
    key: Ed25519KeyPair,
    jitter: Jitter,
    /// What it pretends to be.
    machine: u64,
    began: Instant,
    commands: reeve_agent_proto::sample::Agent,
    due: VecDeque<(Instant, String)>,
    results: HashMap<String, ExecutionResult>,
    answered: VecDeque<String>,
    endpoints: Vec<String>,
    /// Which of them it is with.
    endpoint: usize,
    sessions: u64,
}

async fn live(fleet: Arc<Fleet>, number: usize) -> Result<(), AgentError> {
    let broken = |e: ring::error::Unspecified| AgentError::new(format!("no key pair: {e}"), "try again");
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).map_err(broken)?;
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())
        .map_err(|e| AgentError::new(format!("no key pair: {e}"), "try again"))?;
    let mut agent = Agent {
        node_id: uuid::Uuid::new_v4().to_string(),
        key,
        jitter: Jitter::new(rand::random()),
        machine: rand::random(),
        began: Instant::now(),
        commands: Default::default(),
        due: VecDeque::new(),
        results: HashMap::new(),
        answered: VecDeque::new(),
        endpoints: fleet.membership.endpoints.clone(),
        endpoint: number,
        sessions: 0,
        fleet,
    };
    let mut enrolled = false;
    let mut attempt = 0;
    loop {
        let ended = agent.connect(&mut enrolled).await;
        // Another server, where there is one.
        agent.endpoint = agent.endpoint.wrapping_add(1 + rand::random_range(0..agent.endpoints.len().max(2) - 1));
        match ended {
            Ok(wait) => {
                attempt = 0;
                sleep(wait).await;
            }
            Err(Broken::Refused(error)) => return Err(error),
            Err(Broken::Lost(reason)) => {
                tracing::debug!(node.id = %agent.node_id, reason, "a virtual agent lost its connection");
                let random = agent.jitter.next_u64();
                sleep(Duration::from_millis(full_jitter(attempt, 500, 15_000, random))).await;
                attempt += 1;
            }
        }
    }
}

enum Broken {
    Refused(AgentError),
    Lost(String),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Broken::Lost(error.to_string())
    }
}

impl Agent {
    /// One connection to its end; gives how long to stay away.
    async fn connect(&mut self, enrolled: &mut bool) -> Result<Duration, Broken> {
        let fleet = self.fleet.clone();
        let permit = fleet.dials.acquire().await.map_err(|e| Broken::Lost(e.to_string()))?;
        let endpoint = &self.endpoints[self.endpoint % self.endpoints.len()];
        let connection = dial(endpoint, None, &fleet.tls).await?;
        let mut line = Line::new(connection, self.jitter.next_u64());
        if !*enrolled {
            line.session.enroll(self.enroll(&line.connection), line.now());
            self.converse(&mut line, Until::Enrolled).await?;
            *enrolled = true;
            fleet.enrolled.fetch_add(1, Ordering::Relaxed);
        }
        self.sessions += 1;
        line.session.hello(self.hello(&line.connection), line.now());
        self.converse(&mut line, Until::Open).await?;
        drop(permit);
        fleet.connected.fetch_add(1, Ordering::Relaxed);
        let end = self.converse(&mut line, Until::Lost).await;
        fleet.connected.fetch_sub(1, Ordering::Relaxed);
        end
    }

    fn enroll(&self, connection: &Connection) -> Enroll {
        Enroll {
            key: self.fleet.options.key.clone(),
            node_id: self.node_id.clone(),
            id_type: IdType::Random.into(),
            public_key: self.key.public_key().as_ref().to_vec(),
            signature: proof::sign(&self.key, Purpose::Enroll, &self.node_id, &connection.exporter),
            version: crate::VERSION.to_owned(),
            ports: Some(ports()),
            facts: r#"{"simulated":true}"#.to_owned(),
            ..Enroll::default()
        }
    }

    fn hello(&self, connection: &Connection) -> Hello {
        let finished = self.results.keys().map(|id| (id, Progress::Finished));
        let started = self.due.iter().map(|(_, id)| (id, Progress::Started));
        let known = finished.chain(started);
        Hello {
            node_id: self.node_id.clone(),
            signature: proof::sign(&self.key, Purpose::Hello, &self.node_id, &connection.exporter),
            version: crate::VERSION.to_owned(),
            ports: Some(ports()),
            known: known.map(|(id, p)| Known { execution_id: id.clone(), progress: p.into() }).collect(),
            session: self.sessions,
            ..Hello::default()
        }
    }

    async fn converse(&mut self, line: &mut Line, until: Until) -> Result<Duration, Broken> {
        let churn = self.lifetime();
        let mut next_beat = self.fleet.options.heartbeat_ms.map(|ms| Instant::now() + self.spread(ms));
        loop {
            while let Some(event) = line.session.poll_event() {
                if let Some(end) = self.event(line, event, until)? {
                    return Ok(end);
                }
            }
            self.finish_due(line);
            if line.output.is_empty() {
                line.output = line.session.take_output();
            }
            let tick = line.began + Duration::from_millis(line.session.deadline_ms().min(86_400_000));
            let due = self.due.front().map_or(tick, |(at, _)| *at);
            let beat = next_beat.unwrap_or(tick);
            let wake = tick.min(due).min(beat).min(churn);
            let began = line.began;
            let session = &mut line.session;
            tokio::select! {
                moved = transfer(&mut line.connection.stream, &mut line.output, |b| session.received(b, millis(began))) => {
                    if moved? == Transfer::Closed {
                        return Err(Broken::Lost("closed".into()));
                    }
                }
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    session.tick(millis(began));
                    if until == Until::Lost && now >= churn {
                        return Ok(self.spread(1_000));
                    }
                    if let (Some(at), Some(every)) = (next_beat, self.fleet.options.heartbeat_ms)
                        && now >= at
                        && session.is_open()
                    {
                        session.send(Heartbeat { healthy: true, reasons: Vec::new() });
                        next_beat = Some(at + Duration::from_millis(every));
                    }
                }
            }
        }
    }

    fn event(&mut self, line: &mut Line, event: AgentEvent, until: Until) -> Result<Option<Duration>, Broken> {
        match event {
            AgentEvent::Enrolled(_) if until == Until::Enrolled => return Ok(Some(Duration::ZERO)),
            AgentEvent::Rejected(no) if no.retry_after_ms > 0 => {
                return Ok(Some(Duration::from_millis(no.retry_after_ms)));
            }
            AgentEvent::Rejected(no) => {
                let error =
                    AgentError::new(format!("the server refused a virtual agent: {} ({})", no.message, no.error), "");
                return Err(Broken::Refused(error));
            }
            AgentEvent::Welcome(welcome) => {
                if !welcome.agent_endpoints.is_empty() && self.fleet.options.server.is_none() {
                    self.endpoints = welcome.agent_endpoints;
                    // The server names itself first.
                    self.endpoint = 0;
                }
                for result in self.results.values() {
                    line.session.send(result.clone());
                }
                self.commands.syncs += 1;
                if until == Until::Open {
                    return Ok(Some(Duration::ZERO));
                }
            }
            AgentEvent::Run(run) => self.take(line, *run),
            AgentEvent::ResultAck(id) | AgentEvent::Drop(id) => self.forget(&id),
            AgentEvent::Cancel(id) => {
                if self.due.iter().any(|(_, due)| *due == id) {
                    self.due.retain(|(_, due)| *due != id);
                    self.answer(line, &id, 143, "Command cancelled\n".into());
                }
            }
            AgentEvent::Sync(sync) => sync.drop.iter().for_each(|id| self.forget(id)),
            AgentEvent::GoAway(after_ms) => return Ok(Some(Duration::from_millis(after_ms))),
            AgentEvent::Closed(reason) => return Err(Broken::Lost(reason.to_string())),
            AgentEvent::Ask(Ask { id, question: Some(Asked::Sample(_)), .. }) => {
                let sample = Box::new(self.measure());
                line.session.send(Answer { id, answer: Some(Answered::Sample(sample)) });
            }
            AgentEvent::Ask(Ask { id, question: None, .. }) => {
                let refused = Refused { error: "unsupported".into(), message: "not simulated".into() };
                line.session.send(Answer { id, answer: Some(Answered::Refused(refused)) });
            }
            AgentEvent::SampleDue => {
                let sample = self.measure();
                line.session.send(sample);
            }
            AgentEvent::SelfUpdate(request_id) => {
                let reason = "a virtual agent has no binary to replace".to_owned();
                line.session.send(SelfUpdateAnswer { request_id, triggered: false, reason });
            }
            AgentEvent::Enrolled(_)
            | AgentEvent::Stream(_)
            | AgentEvent::AliasesRegistered(_)
            | AgentEvent::SshVerified(_) => {}
        }
        Ok(None)
    }

    fn take(&mut self, line: &mut Line, run: Run) {
        let id = run.execution_id;
        let known =
            self.results.contains_key(&id) || self.answered.contains(&id) || self.due.iter().any(|(_, d)| *d == id);
        if known {
            return;
        }
        self.commands.commands_accepted += 1;
        line.session.send(Accepted { execution_id: id.clone() });
        line.session.send(Started { execution_id: id.clone(), started_at_us: 0 });
        self.due.push_back((Instant::now() + Duration::from_millis(self.fleet.options.latency_ms), id));
    }

    fn finish_due(&mut self, line: &mut Line) {
        let now = Instant::now();
        while self.due.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.due.pop_front() else { return };
            let failed = (self.jitter.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let code = i32::from(failed < self.fleet.options.fail_rate);
            let output = format!("simulated {}\n", self.node_id);
            self.answer(line, &id, code, output);
        }
    }

    fn answer(&mut self, line: &mut Line, id: &str, exit_code: i32, output: String) {
        let result = ExecutionResult {
            execution_id: id.to_owned(),
            exit_code,
            output_bytes: output.len() as u64,
            output,
            completed_at_us: 0,
            status: ResultStatus::Completed.into(),
        };
        line.session.send(result.clone());
        self.results.insert(id.to_owned(), result);
        self.commands.commands_completed += 1;
        self.fleet.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn forget(&mut self, id: &str) {
        if self.results.remove(id).is_some() {
            self.commands.results_stored += 1;
        }
        self.answered.push_back(id.to_owned());
        if self.answered.len() > REMEMBERED {
            self.answered.pop_front();
        }
    }

    fn measure(&mut self) -> Sample {
        self.commands.uptime_ms = millis(self.began);
        self.commands.commands_running = self.due.len() as u64;
        self.commands.results_waiting = self.results.len() as u64;
        machine::sample(self.machine, self.commands, &mut self.jitter)
    }

    /// When this connection breaks of itself.
    fn lifetime(&mut self) -> Instant {
        let per_agent = self.fleet.options.churn_per_second / self.fleet.options.count.max(1) as f64;
        let mean_ms = if per_agent > 0.0 { (1_000.0 / per_agent) as u64 } else { 86_400_000_000 };
        Instant::now() + Duration::from_millis(self.jitter.up_to(mean_ms.saturating_mul(2)).max(1))
    }

    fn spread(&mut self, ms: u64) -> Duration {
        Duration::from_millis(self.jitter.up_to(ms))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Enrolled,
    Open,
    Lost,
}

struct Line {
    connection: Connection,
    session: AgentSession,
    output: Bytes,
    began: Instant,
}

impl Line {
    fn new(connection: Connection, seed: u64) -> Self {
        Self { connection, session: AgentSession::new(seed, 0), output: Bytes::new(), began: Instant::now() }
    }
    fn now(&self) -> u64 {
        millis(self.began)
    }
}

fn ports() -> Ports {
    Ports {
        http: 44000,
        ssh: 40022,
        host_metrics: 49100,
        wireguard_metrics: 49586,
        http_proxy: 43128,
        socks5_proxy: 41080,
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
