//! One connection, from the first message to its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use reeve_agent_proto::message::{Enroll, Enrolled, Hello, Ports, Rejected, SelfUpdateAnswer};
use reeve_agent_proto::proof::{self, Purpose};
use reeve_agent_proto::{AgentEvent, AgentSession, CloseReason, MuxEvent};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::aliases::Aliases;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::dial::{Connection, Transfer, transfer};
use crate::execution::Command;
use crate::executor::Executor;
use crate::facts;
use crate::identity::Identity;
use crate::questions::Desk;
use crate::ssh_credentials::SshCredentials;
use crate::uplink::{Outbox, Uplink};

/// Messages wait in the outbox while this much output waits for the socket, in bytes.
const OUTPUT_ROOM: usize = 64 * 1024;
/// How long the last results may take to leave when the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The node is registered; the connection can go on with a hello.
    Enrolled(Enrolled),
    /// The server refused the node.
    Rejected(Rejected),
    /// The server asked the agent to come back later.
    GoAway {
        /// After this long.
        after: Duration,
    },
    /// The connection broke.
    Lost {
        /// Why, for the log.
        reason: String,
        /// Whether the session had been open.
        was_open: bool,
    },
    /// The agent was asked to stop.
    Stopped,
}

/// What a connection needs to know about the node.
pub struct Node {
    /// Id and key pair.
    pub identity: Identity,
    /// Ports of its services.
    pub ports: Ports,
    /// What runs on it.
    pub executor: Executor,
    /// Where the executor's messages come from.
    pub uplink: Uplink,
    /// Further names to ask for.
    pub aliases: Aliases,
    /// Who is let in over SSH.
    pub credentials: SshCredentials,
    /// Whether the node takes part in self-updates.
    pub self_update: bool,
    /// Learns the server's time.
    pub clock: Arc<Clock>,
    /// Counts connections over all starts of the agent.
    pub sessions: AtomicU64,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Answers the server's questions.
    pub desk: Desk,
    /// Where the servers said that they are.
    pub told: watch::Sender<Vec<String>>,
    /// Ends everything.
    pub stop: CancellationToken,
}

/// One open connection.
pub struct Link<'a> {
    node: &'a Node,
    connection: Connection,
    session: AgentSession,
    output: Bytes,
    began: Instant,
    beats: u64,
}

impl<'a> Link<'a> {
    /// Wraps a fresh connection.
    pub fn new(node: &'a Node, connection: Connection) -> Self {
        let session = AgentSession::new(rand::random(), 0);
        Self { node, connection, session, output: Bytes::new(), began: Instant::now(), beats: 0 }
    }

    /// Registers the node. Ends with `Enrolled` unless something is wrong.
    pub async fn enroll(&mut self, key: &str) -> End {
        let identity = &self.node.identity;
        let signature = proof::sign(&identity.key, Purpose::Enroll, &identity.node_id, &self.connection.exporter);
        let enroll = Enroll {
            key: key.to_owned(),
            node_id: identity.node_id.clone(),
            id_type: identity.id_type.into(),
            public_key: identity.public_key(),
            signature,
            version: crate::VERSION.to_owned(),
            ports: Some(self.node.ports),
            self_update_enabled: self.node.self_update,
            facts: facts::collect(),
            ..Enroll::default()
        };
        self.session.enroll(enroll, self.now());
        self.converse(None).await
    }

    /// Opens the session and serves it to its end.
    pub async fn serve(mut self) -> End {
        let identity = &self.node.identity;
        let signature = proof::sign(&identity.key, Purpose::Hello, &identity.node_id, &self.connection.exporter);
        let hello = Hello {
            node_id: identity.node_id.clone(),
            signature,
            version: crate::VERSION.to_owned(),
            facts: facts::collect(),
            ports: Some(self.node.ports),
            known: self.node.executor.known().await,
            self_update_enabled: self.node.self_update,
            session: self.node.sessions.fetch_add(1, Ordering::Relaxed),
            ..Hello::default()
        };
        let now = self.now();
        self.session.set_health(self.node.executor.health().borrow().clone(), now);
        self.session.hello(hello, now);
        let outbox = self.node.uplink.connect();
        let end = self.converse(Some(outbox)).await;
        self.node.uplink.disconnect();
        self.node.credentials.disconnected();
        self.node.executor.tell(Command::Closed);
        end
    }

    async fn converse(&mut self, mut outbox: Option<Outbox>) -> End {
        let mut health = self.node.executor.health();
        let mut go_away = None;
        loop {
            while let Some(event) = self.session.poll_event() {
                if let Some(end) = self.event(event, &mut go_away) {
                    return end;
                }
            }
            while self.beats < self.session.beats() {
                self.beats += 1;
                self.node.counters.heartbeats.add();
            }
            if self.output.is_empty() {
                self.output = self.session.take_output();
            }
            let began = self.began;
            let deadline = wake_at(began, self.session.deadline_ms());
            let ready = self.session.is_open() && self.session.output_len() < OUTPUT_ROOM;
            let (stream, output, session) = (&mut self.connection.stream, &mut self.output, &mut self.session);
            tokio::select! {
                moved = transfer(stream, output, |bytes| session.received(bytes, millis(began))) => match moved {
                    Ok(Transfer::Moved) => {}
                    Ok(Transfer::Closed) => return self.lost("the server closed the connection".into(), go_away),
                    Err(error) => return self.lost(error.to_string(), go_away),
                },
                message = next(&mut outbox), if ready => {
                    self.session.send(message);
                    while self.session.output_len() < OUTPUT_ROOM
                        && let Some(message) = outbox.as_mut().and_then(Outbox::try_recv)
                    {
                        self.session.send(message);
                    }
                }
                () = sleep_until(deadline) => {
                    let now = self.now();
                    self.session.tick(now);
                }
                Ok(()) = health.changed() => {
                    let current = health.borrow_and_update().clone();
                    let now = self.now();
                    self.session.set_health(current, now);
                }
                () = self.node.stop.cancelled() => {
                    self.farewell(outbox).await;
                    return End::Stopped;
                }
            }
        }
    }

    fn event(&mut self, event: AgentEvent, go_away: &mut Option<Duration>) -> Option<End> {
        let executor = &self.node.executor;
        match event {
            AgentEvent::Enrolled(enrolled) => return Some(End::Enrolled(enrolled)),
            AgentEvent::Rejected(rejected) => return Some(End::Rejected(rejected)),
            AgentEvent::Welcome(welcome) => {
                self.node.clock.adjust(welcome.server_time_us);
                tracing::info!(
                    node.id = %self.node.identity.node_id,
                    server.version = %welcome.server_version,
                    "connected"
                );
                // The server settles what the hello named with each welcome.
                self.node.counters.syncs.add();
                self.node.told.send_replace(welcome.agent_endpoints);
                executor.tell(Command::Open);
                if let Some(question) = self.node.aliases.question() {
                    self.session.send(question);
                }
            }
            AgentEvent::Sync(sync) => executor.tell(Command::Sync(sync)),
            AgentEvent::Run(run) => executor.tell(Command::Run(run)),
            AgentEvent::ResultAck(id) => executor.tell(Command::Acknowledged(id)),
            AgentEvent::Cancel(id) => executor.tell(Command::Cancel(id)),
            AgentEvent::Drop(id) => executor.tell(Command::Drop(id)),
            AgentEvent::Ask(ask) => self.node.desk.answer(ask),
            AgentEvent::SampleDue => self.node.desk.push(),
            AgentEvent::AliasesRegistered(answer) => self.node.aliases.answered(&answer),
            AgentEvent::SshVerified(answer) => self.node.credentials.answered(answer),
            AgentEvent::SelfUpdate(request_id) => self.session.send(self.refuse_update(request_id)),
            AgentEvent::GoAway(after_ms) => *go_away = Some(Duration::from_millis(after_ms)),
            AgentEvent::Stream(MuxEvent::Opened { stream, open }) => {
                self.session.streams().reset(stream, &format!("streams of kind {:?} are not offered", open.kind));
            }
            AgentEvent::Stream(_) => {}
            AgentEvent::Closed(CloseReason::Rejected) => {}
            AgentEvent::Closed(reason) => return Some(self.lost(reason.to_string(), *go_away)),
        }
        None
    }

    /// The agent cannot replace its own binary, and says so.
    fn refuse_update(&self, request_id: String) -> SelfUpdateAnswer {
        let reason = if self.node.self_update {
            "this agent cannot replace its own binary; install the version you want with the machine's package manager"
        } else {
            "self-update is switched off on this node; start its agent with --self-update"
        };
        tracing::warn!(self_update_request.id = %request_id, reason, "asked to update");
        SelfUpdateAnswer { request_id, triggered: false, reason: reason.to_owned() }
    }

    /// Lets commands end and their results leave.
    async fn farewell(&mut self, mut outbox: Option<Outbox>) {
        if !self.session.is_open() {
            return;
        }
        let sent = timeout(FAREWELL, async {
            while let Some(message) = outbox.as_mut().and_then(Outbox::try_recv) {
                self.session.send(message);
            }
            let stream = &mut self.connection.stream;
            stream.write_all(&self.output).await?;
            stream.write_all(&self.session.take_output()).await?;
            stream.shutdown().await
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke at the end"),
            Err(_) => tracing::debug!("the server took too long to take the last messages"),
        }
    }

    fn lost(&self, reason: String, go_away: Option<Duration>) -> End {
        match go_away {
            Some(after) => End::GoAway { after },
            None => End::Lost { reason, was_open: self.session.is_open() },
        }
    }

    fn now(&self) -> u64 {
        millis(self.began)
    }
}

async fn next(outbox: &mut Option<Outbox>) -> reeve_agent_proto::message::AgentMessage {
    match outbox {
        Some(outbox) => match outbox.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The instant so many milliseconds after a connection began. They grow for as long as it lives, so there is no bound to
/// cut them off at: one that had passed would be due again and again.
fn wake_at(began: Instant, deadline_ms: u64) -> Instant {
    let far = || Instant::now() + Duration::from_secs(60);
    began.checked_add(Duration::from_millis(deadline_ms)).unwrap_or_else(far)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether an I/O error means that the server is not the one the key was made for.
pub fn explain(error: &io::Error) -> String {
    if crate::tls::is_wrong_pin(error) {
        "the server's public key is not the one this node was enrolled with: either the endpoint leads to another \
         server, or the server's key was replaced and the node has to be enrolled again with a new key"
            .into()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_several_days_still_sleeps_until_its_next_deadline() {
        let began = Instant::now();
        let three_days_ms = 3 * 86_400_000;
        assert_eq!(wake_at(began, three_days_ms), began + Duration::from_secs(3 * 86_400));
        assert!(wake_at(began, u64::MAX) > began);
    }
}
