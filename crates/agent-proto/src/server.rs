//! The server's side of a connection as a state machine.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;

use crate::message::{
    Accepted, AgentMessage, Enroll, Enrolled, ExecutionResult, FromAgent, GoAway, Heartbeat, Hello, OutputChunk, Pong,
    RegisterAliases, Rejected, SelfUpdateAnswer, ServerMessage, Started, VerifySsh, Welcome, common_version,
};
use crate::mux::{Mux, MuxEvent, Side};
use crate::sample::{Answer, QUESTIONS_SINCE, Sample};
use crate::{CloseReason, ProtocolError};

/// How long an agent may take until it has introduced itself.
pub const INTRODUCTION_TIMEOUT_MS: u64 = 15_000;

/// What the server's shell has to deal with.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent {
    /// Answer with [`ServerSession::enrolled`] or [`ServerSession::reject`].
    Enroll(Box<Enroll>),
    /// Answer with [`ServerSession::welcome`] or [`ServerSession::reject`].
    Hello(Box<Hello>),
    /// The agent lives; already answered.
    Heartbeat(Heartbeat),
    /// The agent journalled an execution.
    Accepted(Accepted),
    /// An execution runs.
    Started(Started),
    /// Live output.
    Output(OutputChunk),
    /// An execution ended; acknowledge once it is stored durably.
    Result(Box<ExecutionResult>),
    /// What the node measured.
    Sample(Box<Sample>),
    /// The answer to a question.
    Answer(Answer),
    /// The node would like to have names; answer with `AliasesRegistered`.
    RegisterAliases(RegisterAliases),
    /// Somebody wants in; answer with `SshVerified`.
    VerifySsh(Box<VerifySsh>),
    /// The agent began to update itself, or not.
    SelfUpdateAnswer(SelfUpdateAnswer),
    /// Something happened on a byte stream.
    Stream(MuxEvent),
    /// The session is over; nothing follows.
    Closed(CloseReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing said yet, or enrolled and due to say hello.
    Waiting,
    /// `Enroll` is with the shell.
    Enrolling,
    /// `Hello` is with the shell.
    Greeting,
    Open,
    Closed,
}

/// Feed it bytes and time; write what [`ServerSession::take_output`] returns.
#[derive(Debug)]
pub struct ServerSession {
    mux: Mux,
    state: State,
    version: u32,
    heartbeat_ms: u64,
    sample_ms: u64,
    endpoints: Vec<String>,
    deadline_ms: u64,
    events: VecDeque<ServerEvent>,
}

impl ServerSession {
    /// A fresh connection. Agents are asked to send a heartbeat every `heartbeat_ms`.
    pub fn new(heartbeat_ms: u64, now_ms: u64) -> Self {
        Self {
            mux: Mux::new(Side::Server),
            state: State::Waiting,
            version: 0,
            heartbeat_ms,
            sample_ms: 0,
            endpoints: Vec::new(),
            deadline_ms: now_ms.saturating_add(INTRODUCTION_TIMEOUT_MS),
            events: VecDeque::new(),
        }
    }

    /// Grants an `Enroll`.
    pub fn enrolled(&mut self, enrolled: Enrolled, now_ms: u64) {
        if self.state == State::Enrolling {
            self.state = State::Waiting;
            self.deadline_ms = now_ms.saturating_add(INTRODUCTION_TIMEOUT_MS);
            self.mux.send_message(&ServerMessage::from(enrolled));
        }
    }

    /// Grants a `Hello`: the session is open.
    pub fn welcome(&mut self, server_version: &str, server_time_us: i64, now_ms: u64) {
        if self.state == State::Greeting {
            self.state = State::Open;
            self.deadline_ms = self.silence_limit(now_ms);
            self.mux.send_message(&ServerMessage::from(Welcome {
                heartbeat_interval_ms: self.heartbeat_ms,
                server_version: server_version.to_owned(),
                server_time_us,
                protocol_version: self.version,
                sample_interval_ms: self.sample_ms,
                agent_endpoints: std::mem::take(&mut self.endpoints),
            }));
        }
    }

    /// Refuses; write the output, then close the connection.
    pub fn reject(&mut self, rejected: Rejected) {
        if self.state != State::Closed {
            self.mux.send_message(&ServerMessage::from(rejected));
            self.close(CloseReason::Rejected);
        }
    }

    /// Queues a message.
    pub fn send(&mut self, message: impl Into<ServerMessage>) {
        if self.state != State::Closed {
            self.mux.send_message(&message.into());
        }
    }

    /// Sends the agent away for a while.
    pub fn go_away(&mut self, reconnect_after_ms: u64) {
        self.send(GoAway { reconnect_after_ms });
    }

    /// Changes the interval that the next `welcome` names.
    pub fn set_heartbeat_ms(&mut self, heartbeat_ms: u64) {
        self.heartbeat_ms = heartbeat_ms;
    }

    /// Changes the interval of samples that the next `welcome` names; 0 wants none.
    pub fn set_sample_ms(&mut self, sample_ms: u64) {
        self.sample_ms = sample_ms;
    }

    /// Whether the agent understands questions. Known from its first message on.
    pub fn takes_questions(&self) -> bool {
        self.version >= QUESTIONS_SINCE
    }

    /// Sets where agents are served, for the next `welcome` to say.
    pub fn set_endpoints(&mut self, endpoints: Vec<String>) {
        self.endpoints = endpoints;
    }

    /// Whether the agent was welcomed and the session is not over.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes in received bytes.
    pub fn received(&mut self, bytes: &[u8], now_ms: u64) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Open {
            self.deadline_ms = self.silence_limit(now_ms);
        }
        let outcome = self.mux.feed(bytes);
        while let Some(event) = self.mux.poll_event() {
            if let Err(error) = self.event(event) {
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

    /// Lets time pass; call at or after [`ServerSession::deadline_ms`].
    pub fn tick(&mut self, now_ms: u64) {
        if self.state != State::Closed && now_ms >= self.deadline_ms {
            let open = self.state == State::Open;
            self.close(if open { CloseReason::Silent } else { CloseReason::HandshakeTimeout });
        }
    }

    /// When the agent's silence becomes too long.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Bytes of a message that is not complete yet.
    pub fn partial_len(&self) -> usize {
        self.mux.partial_len()
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

    fn event(&mut self, event: MuxEvent) -> Result<(), ProtocolError> {
        let MuxEvent::Message(bytes) = event else {
            if self.state != State::Open {
                return Err(ProtocolError::Unexpected("stream before the session is open"));
            }
            self.events.push_back(ServerEvent::Stream(event));
            return Ok(());
        };
        let message = AgentMessage::decode(bytes).map_err(|_| ProtocolError::Malformed("agent message"))?;
        let Some(body) = message.body else {
            return Ok(());
        };
        match (body, self.state) {
            (FromAgent::Enroll(enroll), State::Waiting) => {
                if self.agree(enroll.min_version, enroll.max_version) {
                    self.state = State::Enrolling;
                    self.events.push_back(ServerEvent::Enroll(enroll));
                }
            }
            (FromAgent::Hello(hello), State::Waiting) => {
                if self.agree(hello.min_version, hello.max_version) {
                    self.state = State::Greeting;
                    self.events.push_back(ServerEvent::Hello(hello));
                }
            }
            (FromAgent::Ping(ping), _) => self.mux.send_message(&ServerMessage::from(Pong { nonce: ping.nonce })),
            (FromAgent::Pong(_), _) => {}
            (FromAgent::Heartbeat(heartbeat), State::Open) => {
                self.mux.send_message(&ServerMessage::from(Pong { nonce: 0 }));
                self.events.push_back(ServerEvent::Heartbeat(heartbeat));
            }
            (FromAgent::Accepted(accepted), State::Open) => self.events.push_back(ServerEvent::Accepted(accepted)),
            (FromAgent::Started(started), State::Open) => self.events.push_back(ServerEvent::Started(started)),
            (FromAgent::Output(chunk), State::Open) => self.events.push_back(ServerEvent::Output(chunk)),
            (FromAgent::Result(result), State::Open) => self.events.push_back(ServerEvent::Result(result)),
            (FromAgent::Sample(sample), State::Open) => self.events.push_back(ServerEvent::Sample(sample)),
            (FromAgent::Answer(answer), State::Open) => self.events.push_back(ServerEvent::Answer(answer)),
            (FromAgent::RegisterAliases(names), State::Open) => {
                self.events.push_back(ServerEvent::RegisterAliases(names));
            }
            (FromAgent::VerifySsh(question), State::Open) => self.events.push_back(ServerEvent::VerifySsh(question)),
            (FromAgent::SelfUpdateAnswer(answer), State::Open) => {
                self.events.push_back(ServerEvent::SelfUpdateAnswer(answer));
            }
            (
                FromAgent::Enroll(_)
                | FromAgent::Hello(_)
                | FromAgent::Heartbeat(_)
                | FromAgent::Accepted(_)
                | FromAgent::Started(_)
                | FromAgent::Output(_)
                | FromAgent::Result(_)
                | FromAgent::Sample(_)
                | FromAgent::Answer(_)
                | FromAgent::RegisterAliases(_)
                | FromAgent::VerifySsh(_)
                | FromAgent::SelfUpdateAnswer(_),
                _,
            ) => {
                return Err(ProtocolError::Unexpected("message in this state of the session"));
            }
        }
        Ok(())
    }

    fn agree(&mut self, min: u32, max: u32) -> bool {
        match common_version(min, max) {
            Some(version) => {
                self.version = version;
                true
            }
            None => {
                self.mux.send_message(&ServerMessage::from(Rejected {
                    error: "version_unsupported".into(),
                    message: format!(
                        "this server speaks agent protocol {} to {}, the agent {min} to {max}",
                        crate::message::PROTOCOL_MIN,
                        crate::message::PROTOCOL_MAX
                    ),
                    retry_after_ms: 0,
                }));
                self.close(CloseReason::VersionUnsupported);
                false
            }
        }
    }

    fn silence_limit(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.heartbeat_ms * 5 / 2).saturating_add(1_000)
    }

    fn close(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.events.push_back(ServerEvent::Closed(reason));
        }
    }
}
