//! The agent's side of a connection as a state machine.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;

use crate::backoff::Jitter;
use crate::message::{
    AgentMessage, AliasesRegistered, Enroll, Enrolled, FromServer, Heartbeat, Hello, PROTOCOL_MAX, PROTOCOL_MIN, Ping,
    Pong, Rejected, Run, ServerMessage, SshVerified, Sync, Welcome,
};
use crate::mux::{Mux, MuxEvent, Side};
use crate::sample::{Ask, QUESTIONS_SINCE};
use crate::{CloseReason, ProtocolError};

/// How long the server may take to answer `Enroll` or `Hello`.
pub const ANSWER_TIMEOUT_MS: u64 = 60_000;
/// Heartbeat interval until the server has named one.
pub const DEFAULT_HEARTBEAT_MS: u64 = 30_000;
/// The first sample of a session comes within this time, so that a node that joins is soon seen, and a fleet that comes
/// back does not measure in step.
const FIRST_SAMPLE_WITHIN_MS: u64 = 10_000;

/// What the agent's shell has to deal with.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// Registered: store it, then say hello.
    Enrolled(Enrolled),
    /// Refused; `Closed` follows.
    Rejected(Rejected),
    /// The session is open.
    Welcome(Welcome),
    /// The server's view of the executions named in `Hello`.
    Sync(Sync),
    /// A command to run.
    Run(Box<Run>),
    /// This execution's result is safe.
    ResultAck(String),
    /// Cancel this execution.
    Cancel(String),
    /// Stop and forget this execution.
    Drop(String),
    /// Which names the node has got.
    AliasesRegistered(AliasesRegistered),
    /// Whether somebody is let in.
    SshVerified(SshVerified),
    /// Begin to update, as this request asks; answer with a `SelfUpdateAnswer`.
    SelfUpdate(String),
    /// Connect again after so many milliseconds.
    GoAway(u64),
    /// Answer with [`crate::sample::Answer`].
    Ask(Ask),
    /// It is time to send a [`crate::sample::Sample`].
    SampleDue,
    /// Something happened on a byte stream.
    Stream(MuxEvent),
    /// The session is over; nothing follows.
    Closed(CloseReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connected,
    Enrolling,
    Greeting,
    Open,
    Closed,
}

/// Feed it bytes and time; write what [`AgentSession::take_output`] returns.
#[derive(Debug)]
pub struct AgentSession {
    mux: Mux,
    state: State,
    jitter: Jitter,
    health: Heartbeat,
    heartbeat_ms: u64,
    next_heartbeat_ms: u64,
    beats: u64,
    sample_ms: u64,
    next_sample_ms: u64,
    silent_after_ms: u64,
    events: VecDeque<AgentEvent>,
}

impl AgentSession {
    /// A fresh connection; `seed` makes this agent's jitter its own.
    pub fn new(seed: u64, now_ms: u64) -> Self {
        Self {
            mux: Mux::new(Side::Agent),
            state: State::Connected,
            jitter: Jitter::new(seed),
            health: Heartbeat { healthy: true, reasons: Vec::new() },
            heartbeat_ms: DEFAULT_HEARTBEAT_MS,
            next_heartbeat_ms: u64::MAX,
            beats: 0,
            sample_ms: 0,
            next_sample_ms: u64::MAX,
            silent_after_ms: now_ms.saturating_add(ANSWER_TIMEOUT_MS),
            events: VecDeque::new(),
        }
    }

    /// Asks to be registered. The protocol versions are filled in here.
    pub fn enroll(&mut self, mut enroll: Enroll, now_ms: u64) {
        enroll.min_version = PROTOCOL_MIN;
        enroll.max_version = PROTOCOL_MAX;
        self.state = State::Enrolling;
        self.silent_after_ms = now_ms.saturating_add(ANSWER_TIMEOUT_MS);
        self.mux.send_message(&AgentMessage::from(enroll));
    }

    /// Opens the session. Protocol versions and health are filled in here.
    pub fn hello(&mut self, mut hello: Hello, now_ms: u64) {
        hello.min_version = PROTOCOL_MIN;
        hello.max_version = PROTOCOL_MAX;
        hello.health = Some(self.health.clone());
        self.state = State::Greeting;
        self.silent_after_ms = now_ms.saturating_add(ANSWER_TIMEOUT_MS);
        self.mux.send_message(&AgentMessage::from(hello));
    }

    /// Queues a message.
    pub fn send(&mut self, message: impl Into<AgentMessage>) {
        if self.state != State::Closed {
            self.mux.send_message(&message.into());
        }
    }

    /// Sets what heartbeats report; a change is reported at once.
    pub fn set_health(&mut self, health: Heartbeat, now_ms: u64) {
        if health != self.health {
            self.health = health;
            if self.state == State::Open {
                self.beat(now_ms);
            }
        }
    }

    /// Whether the server has welcomed the node and not closed since.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Heartbeats sent in this session.
    pub fn beats(&self) -> u64 {
        self.beats
    }

    /// Takes in received bytes.
    pub fn received(&mut self, bytes: &[u8], now_ms: u64) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Open {
            self.silent_after_ms = self.silence_limit(now_ms);
        }
        let outcome = self.mux.feed(bytes);
        while let Some(event) = self.mux.poll_event() {
            if let Err(error) = self.event(event, now_ms) {
                return self.close(CloseReason::Protocol(error));
            }
            if self.state == State::Closed {
                return;
            }
        }
        if let Err(error) = outcome {
            self.close(CloseReason::Protocol(error));
        }
    }

    /// Lets time pass; call at or after [`AgentSession::deadline_ms`].
    pub fn tick(&mut self, now_ms: u64) {
        if self.state == State::Closed {
            return;
        }
        if now_ms >= self.silent_after_ms {
            let reason = if self.state == State::Open { CloseReason::Silent } else { CloseReason::HandshakeTimeout };
            return self.close(reason);
        }
        if now_ms >= self.next_heartbeat_ms {
            self.beat(now_ms);
        }
        if now_ms >= self.next_sample_ms {
            self.next_sample_ms = now_ms.saturating_add(self.jitter.around(self.sample_ms));
            self.events.push_back(AgentEvent::SampleDue);
        }
    }

    /// When [`AgentSession::tick`] has something to do next.
    pub fn deadline_ms(&self) -> u64 {
        self.silent_after_ms.min(self.next_heartbeat_ms).min(self.next_sample_ms)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    /// Bytes waiting to be written.
    pub fn output_len(&self) -> usize {
        self.mux.output_len()
    }

    /// Everything waiting to be written, for one write.
    pub fn take_output(&mut self) -> Bytes {
        self.mux.take_output()
    }

    /// The byte streams of this connection.
    pub fn streams(&mut self) -> &mut Mux {
        &mut self.mux
    }

    fn event(&mut self, event: MuxEvent, now_ms: u64) -> Result<(), ProtocolError> {
        let MuxEvent::Message(bytes) = event else {
            self.events.push_back(AgentEvent::Stream(event));
            return Ok(());
        };
        let message = ServerMessage::decode(bytes).map_err(|_| ProtocolError::Malformed("server message"))?;
        let Some(body) = message.body else {
            return Ok(());
        };
        match (body, self.state) {
            (FromServer::Enrolled(enrolled), State::Enrolling) => {
                self.state = State::Connected;
                self.events.push_back(AgentEvent::Enrolled(enrolled));
            }
            (FromServer::Rejected(rejected), State::Enrolling | State::Greeting | State::Open) => {
                self.events.push_back(AgentEvent::Rejected(rejected));
                self.close(CloseReason::Rejected);
            }
            (FromServer::Welcome(welcome), State::Greeting) => {
                self.state = State::Open;
                // A heartbeat storm or a never-beating agent must not be one odd configuration away.
                self.heartbeat_ms = match welcome.heartbeat_interval_ms {
                    0 => DEFAULT_HEARTBEAT_MS,
                    interval => interval.clamp(100, 600_000),
                };
                self.next_heartbeat_ms = now_ms.saturating_add(self.jitter.up_to(self.heartbeat_ms));
                self.silent_after_ms = self.silence_limit(now_ms);
                if welcome.protocol_version >= QUESTIONS_SINCE && welcome.sample_interval_ms > 0 {
                    self.sample_ms = welcome.sample_interval_ms.clamp(100, 3_600_000);
                    let first = self.jitter.up_to(self.sample_ms.min(FIRST_SAMPLE_WITHIN_MS));
                    self.next_sample_ms = now_ms.saturating_add(first);
                }
                self.events.push_back(AgentEvent::Welcome(welcome));
            }
            (FromServer::GoAway(go), _) => self.events.push_back(AgentEvent::GoAway(go.reconnect_after_ms)),
            (FromServer::Ping(ping), _) => self.mux.send_message(&AgentMessage::from(Pong { nonce: ping.nonce })),
            (FromServer::Pong(_), _) => {}
            (FromServer::Run(run), State::Open) => self.events.push_back(AgentEvent::Run(run)),
            (FromServer::ResultAck(ack), State::Open) => {
                self.events.push_back(AgentEvent::ResultAck(ack.execution_id));
            }
            (FromServer::Cancel(cancel), State::Open) => self.events.push_back(AgentEvent::Cancel(cancel.execution_id)),
            (FromServer::Drop(forget), State::Open) => self.events.push_back(AgentEvent::Drop(forget.execution_id)),
            (FromServer::Sync(sync), State::Open) => self.events.push_back(AgentEvent::Sync(sync)),
            (FromServer::Ask(ask), State::Open) => self.events.push_back(AgentEvent::Ask(ask)),
            (FromServer::AliasesRegistered(answer), State::Open) => {
                self.events.push_back(AgentEvent::AliasesRegistered(answer));
            }
            (FromServer::SshVerified(answer), State::Open) => self.events.push_back(AgentEvent::SshVerified(answer)),
            (FromServer::SelfUpdate(order), State::Open) => {
                self.events.push_back(AgentEvent::SelfUpdate(order.request_id));
            }
            (
                FromServer::Enrolled(_)
                | FromServer::Rejected(_)
                | FromServer::Welcome(_)
                | FromServer::Run(_)
                | FromServer::ResultAck(_)
                | FromServer::Cancel(_)
                | FromServer::Drop(_)
                | FromServer::Sync(_)
                | FromServer::Ask(_)
                | FromServer::AliasesRegistered(_)
                | FromServer::SshVerified(_)
                | FromServer::SelfUpdate(_),
                _,
            ) => {
                return Err(ProtocolError::Unexpected("message before the session is open"));
            }
        }
        Ok(())
    }

    fn beat(&mut self, now_ms: u64) {
        let health = self.health.clone();
        self.mux.send_message(&AgentMessage::from(health));
        self.beats += 1;
        self.next_heartbeat_ms = now_ms.saturating_add(self.jitter.around(self.heartbeat_ms));
    }

    fn silence_limit(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.heartbeat_ms * 5 / 2).saturating_add(1_000)
    }

    fn close(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.events.push_back(AgentEvent::Closed(reason));
        }
    }

    /// Asks the server for a sign of life.
    pub fn ping(&mut self, nonce: u64) {
        self.send(Ping { nonce });
    }
}
