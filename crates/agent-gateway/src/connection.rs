//! One agent's connection: introduction, session, end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reeve_agent_proto::message::{Enroll, Enrolled, Hello};
use reeve_agent_proto::proof::{EXPORTER_LEN, Purpose, verify};
use reeve_agent_proto::{MuxEvent, ServerEvent, ServerSession};
use reeve_domain::agent::{self, Enrollment, Machine, Report};
use reeve_domain::node_metrics;
use reeve_domain::self_update;
use reeve_types::node::NodeStatus;
use reeve_types::{Error, ErrorKind, ExecutionId, NodeId, SelfUpdateRequestId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use crate::convert;
use crate::hub::{Close, Link};
use crate::listener::Shell;
use crate::questions;
use crate::socket::{Transfer, transfer};

/// Orders wait in the hub while this much output waits for the socket, in bytes.
const OUTPUT_ROOM: usize = 64 * 1024;
/// An agent that does not read is not read from either, past this much output, in bytes.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// A message larger than this needs a permit to be received further, in bytes.
const LARGE: usize = 128 * 1024;
/// How long one message may be under way.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the last bytes may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(crate) async fn serve(
    shell: &Shell,
    stream: TlsStream<TcpStream>,
    exporter: [u8; EXPORTER_LEN],
    permit: OwnedSemaphorePermit,
) {
    let mut connection = Connection {
        shell,
        stream,
        exporter,
        session: ServerSession::new(30_000, 0),
        output: Bytes::new(),
        began: Instant::now(),
        node: None,
        introducing: Some(permit),
        large: None,
        asking: Arc::new(Semaphore::new(questions::AT_ONCE)),
    };
    let reason = connection.converse().await;
    if let Some((node, link)) = connection.node.take() {
        tracing::debug!(node.id = %node, %reason, "agent disconnected");
        link.abandon();
        let _lock = shell.stripe(&node).lock().await;
        if shell.hub.unregister(&node, &link)
            && let Err(error) = agent::disconnected(&shell.app, &node).await
        {
            tracing::error!(node.id = %node, %error, source = ?error.source, "could not note that an agent left");
        }
    } else {
        tracing::debug!(%reason, "connection without an agent ended");
    }
}

struct Connection<'a> {
    shell: &'a Shell,
    stream: TlsStream<TcpStream>,
    exporter: [u8; EXPORTER_LEN],
    session: ServerSession,
    output: Bytes,
    began: Instant,
    /// Once the agent has said hello.
    node: Option<(NodeId, Arc<Link>)>,
    /// Held until the agent is in, so that handshakes and introductions are bounded together.
    introducing: Option<OwnedSemaphorePermit>,
    large: Option<(OwnedSemaphorePermit, Instant)>,
    /// Bounds the questions of this agent that are being answered.
    asking: Arc<Semaphore>,
}

impl Connection<'_> {
    /// Returns why it ended, for the log.
    async fn converse(&mut self) -> String {
        loop {
            while let Some(event) = self.session.poll_event() {
                if let ServerEvent::Closed(reason) = event {
                    self.flush().await;
                    return reason.to_string();
                }
                // Boxed: what the store needs for an event is not carried by every idle connection.
                Box::pin(self.event(event)).await;
            }
            if let Some(reason) = self.closing() {
                if let Some((node, link)) = &self.node
                    && link.closing() == Some(Close::Away)
                {
                    self.session.go_away(self.shell.reconnect_after_ms(node) / 10);
                }
                self.flush().await;
                return reason;
            }
            self.take_orders();
            if self.output.is_empty() {
                self.output = self.session.take_output();
            }
            if let Err(reason) = self.bound_large_messages().await {
                return reason.into();
            }
            let began = self.began;
            let deadline = began + Duration::from_millis(self.session.deadline_ms());
            let may_read = self.session.output_len() < OUTPUT_LIMIT;
            let wake = async {
                match &self.node {
                    Some((_, link)) => link.wake.notified().await,
                    None => std::future::pending().await,
                }
            };
            let (shell, introducing) = (self.shell, self.introducing.is_some());
            let (stream, output, session) = (&mut self.stream, &mut self.output, &mut self.session);
            tokio::select! {
                moved = transfer(stream, output, may_read, |bytes| session.received(bytes, millis(began))) => match moved {
                    Ok(Transfer::Moved) => {}
                    Ok(Transfer::Closed) => return "the agent closed the connection".into(),
                    Err(error) => return error.to_string(),
                },
                () = wake => {}
                () = sleep_until(deadline) => self.session.tick(millis(began)),
                () = shell.crowded(began), if introducing => return "it took its time while others waited".into(),
                () = shell.stop.cancelled() => {
                    if let Some((node, _)) = &self.node {
                        self.session.go_away(self.shell.reconnect_after_ms(node));
                    }
                    self.flush().await;
                    return "the server stops".into();
                }
            }
        }
    }

    fn closing(&self) -> Option<String> {
        match self.node.as_ref().and_then(|(_, link)| link.closing())? {
            Close::Replaced => Some("replaced by a newer connection".into()),
            Close::Asked(reason) => Some(reason),
            Close::Away => Some("sent to another server".into()),
            Close::Ended => None,
        }
    }

    fn take_orders(&mut self) {
        let Some((_, link)) = &self.node else { return };
        while self.session.is_open() && self.session.output_len() < OUTPUT_ROOM {
            if let Some((id, question, deadline)) = link.take_question() {
                self.session.send(convert::question(id, question, deadline));
            } else if let Some(order) = link.take() {
                self.session.send(convert::order(order));
            } else {
                return;
            }
        }
    }

    /// A message in pieces occupies memory until it is whole: only so many connections may do that at once.
    async fn bound_large_messages(&mut self) -> Result<(), &'static str> {
        if self.session.partial_len() <= LARGE {
            self.large = None;
            return Ok(());
        }
        match &self.large {
            Some((_, since)) if since.elapsed() > MESSAGE_TIMEOUT => Err("a message took too long to arrive"),
            Some(_) => Ok(()),
            None => match timeout(MESSAGE_TIMEOUT, self.shell.large_messages.clone().acquire_owned()).await {
                Ok(Ok(permit)) => {
                    self.large = Some((permit, Instant::now()));
                    Ok(())
                }
                Ok(Err(_)) | Err(_) => Err("too many large messages"),
            },
        }
    }

    async fn event(&mut self, event: ServerEvent) {
        let app = &self.shell.app;
        let event = match event {
            ServerEvent::Enroll(enroll) => return self.enroll(*enroll).await,
            ServerEvent::Hello(hello) => return self.hello(*hello).await,
            other => other,
        };
        let Some((node, link)) = &self.node else { return };
        match event {
            ServerEvent::Heartbeat(heartbeat) => {
                let status = if heartbeat.healthy { NodeStatus::Healthy } else { NodeStatus::Unhealthy };
                agent::heartbeat(app, node, status);
            }
            ServerEvent::Accepted(accepted) => {
                agent::report(app, node, Report::Accepted(ExecutionId(accepted.execution_id))).await;
            }
            ServerEvent::Started(started) => {
                agent::report(app, node, Report::Started(ExecutionId(started.execution_id))).await;
            }
            ServerEvent::Output(chunk) => {
                let execution_id = ExecutionId(chunk.execution_id);
                let report = Report::Output { execution_id, offset: chunk.offset, text: chunk.text };
                agent::report(app, node, report).await;
            }
            ServerEvent::Result(result) => {
                agent::report(app, node, Report::Outcome(convert::outcome(*result))).await;
            }
            ServerEvent::Sample(sample) => node_metrics::note(app, node, convert::sample(*sample)),
            ServerEvent::Answer(answer) => link.answered(answer.id, convert::answer(answer)),
            ServerEvent::RegisterAliases(asked) => {
                let answer = questions::aliases(app, node, asked).await;
                self.session.send(answer);
            }
            ServerEvent::VerifySsh(asked) => {
                if let Some(refusal) = questions::ssh(self.shell, node, &self.asking, *asked) {
                    self.session.send(refusal);
                }
            }
            ServerEvent::SelfUpdateAnswer(answer) => {
                let request = SelfUpdateRequestId(answer.request_id);
                let noted = self_update::answered(app, node, &request, answer.triggered, &answer.reason).await;
                if let Err(error) = noted {
                    tracing::error!(node.id = %node, %error, source = ?error.source, "an answer to a self-update request is lost");
                }
            }
            ServerEvent::Stream(MuxEvent::Opened { stream, .. }) => {
                self.session.streams().reset(stream, "agents open no streams");
            }
            ServerEvent::Stream(_) | ServerEvent::Enroll(_) | ServerEvent::Hello(_) | ServerEvent::Closed(_) => {}
        }
    }

    async fn enroll(&mut self, enroll: Enroll) {
        let proven = verify(&enroll.public_key, Purpose::Enroll, &enroll.node_id, &self.exporter, &enroll.signature);
        if !proven {
            return self.session.reject(convert::rejected(
                "bad_signature",
                "the agent does not hold the key pair it wants to enroll with",
                0,
            ));
        }
        let id_type = convert::id_type(enroll.id_type());
        let machine = convert::machine(&enroll.version, enroll.ports, enroll.self_update_enabled, enroll.facts);
        let enrollment = Enrollment {
            key: enroll.key,
            node_id: NodeId(enroll.node_id),
            id_type,
            public_key: enroll.public_key,
            machine,
        };
        match agent::enroll(&self.shell.app, enrollment).await {
            Ok(Ok(enrolled)) => {
                metrics::counter!("reeve_agents_enrolled_total").increment(1);
                let now = millis(self.began);
                self.session.enrolled(
                    Enrolled {
                        node_id: enrolled.node_id.0,
                        cluster_name: enrolled.cluster_name,
                        api_token: enrolled.api_token.expose().to_owned(),
                        proxy_password: enrolled.proxy_password.expose().to_owned(),
                        agent_endpoints: enrolled.agent_endpoints,
                    },
                    now,
                );
            }
            Ok(Err(refusal)) => self.session.reject(convert::refusal(refusal)),
            Err(error) => self.refuse_for(&error),
        }
    }

    async fn hello(&mut self, hello: Hello) {
        let (app, node) = (&self.shell.app, NodeId(hello.node_id.clone()));
        let public_key = match agent::public_key(app, &node).await {
            Ok(Some(public_key)) => public_key,
            Ok(None) => return self.session.reject(convert::refusal(agent::Refusal::UnknownNode)),
            Err(error) => return self.refuse_for(&error),
        };
        if !verify(&public_key, Purpose::Hello, &hello.node_id, &self.exporter, &hello.signature) {
            tracing::warn!(node.id = %node, "an agent could not prove that it is this node");
            return self.session.reject(convert::rejected(
                "bad_signature",
                "this node id belongs to another key pair; delete the node on the server, or enroll with --random-id \
                 and an empty data directory",
                0,
            ));
        }
        let session = i64::try_from(hello.session).unwrap_or_default();
        let machine = convert::machine(&hello.version, hello.ports, hello.self_update_enabled, hello.facts);
        let machine = Machine { session, ..machine };
        let healthy = hello.health.as_ref().is_none_or(|health| health.healthy);
        let shell = self.shell;
        let lock = shell.stripe(&node).lock().await;
        let link = shell.hub.register(&node, self.session.takes_questions());
        let connected = agent::connected(app, &node, machine, convert::known(hello.known)).await;
        drop(lock);
        // From here on the end of the connection takes the link out again, whatever happens.
        self.node = Some((node.clone(), link));
        match connected {
            Ok(welcome) => {
                self.session.set_heartbeat_ms(welcome.heartbeat_ms);
                self.session.set_sample_ms(welcome.sample_ms);
                self.session.set_endpoints(welcome.agent_endpoints);
                self.session.welcome(welcome.server_version, welcome.now.0, millis(self.began));
                self.introducing = None;
                if !healthy {
                    agent::heartbeat(app, &node, NodeStatus::Unhealthy);
                }
                tracing::debug!(node.id = %node, "agent connected");
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.session.reject(convert::refusal(agent::Refusal::UnknownNode));
            }
            Err(error) => self.refuse_for(&error),
        }
    }

    /// An agent with a malformed id is refused for good, one that met a troubled store comes back.
    fn refuse_for(&mut self, error: &Error) {
        if error.kind == ErrorKind::Invalid {
            return self.session.reject(convert::rejected("invalid", &error.message, 0));
        }
        tracing::error!(%error, source = ?error.source, "an agent could not be served");
        self.session.reject(convert::rejected("unavailable", "the server cannot serve agents at the moment", 5_000));
    }

    async fn flush(&mut self) {
        let rest = self.session.take_output();
        let (stream, output) = (&mut self.stream, &self.output);
        let flushed = timeout(FLUSH_TIMEOUT, async {
            stream.write_all(output).await?;
            stream.write_all(&rest).await?;
            stream.shutdown().await
        });
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke at the end"),
            Err(_) => tracing::debug!("the agent did not take the last messages"),
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
