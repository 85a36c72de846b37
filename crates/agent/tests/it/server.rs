//! A server for tests: grants what it is asked, records what it hears, says what it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reeve_agent_proto::key::pin_of_spki;
use reeve_agent_proto::message::{
    Enrolled, ExecutionResult, Heartbeat, Hello, Rejected, ResultAck, Run, ServerMessage,
};
use reeve_agent_proto::proof::{self, EXPORTER_LABEL, EXPORTER_LEN, Purpose};
use reeve_agent_proto::{EnrollmentKey, ServerEvent, ServerSession};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What agents said, in order.
pub type Heard = mpsc::UnboundedReceiver<(String, ServerEvent)>;

/// What to say to a node, `None` to hang up; and what cuts it off.
type Link = (mpsc::UnboundedSender<Option<ServerMessage>>, CancellationToken);

/// Switches and memory of the server.
#[derive(Default)]
pub struct Shared {
    /// Answer every `Enroll` and `Hello` with this refusal.
    pub refuse: Mutex<Option<Rejected>>,
    /// Do not acknowledge results.
    pub no_ack: AtomicBool,
    /// Refuse connections.
    pub deaf: AtomicBool,
    /// Public keys of enrolled nodes.
    pub keys: Mutex<HashMap<String, Vec<u8>>>,
    links: Mutex<HashMap<String, Link>>,
    /// Sessions that were opened.
    pub welcomed: AtomicUsize,
}

pub struct Server {
    pub key: String,
    pub endpoint: String,
    pub heard: Heard,
    pub shared: Arc<Shared>,
    all: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with_heartbeat(1_000).await
    }

    pub async fn with_heartbeat(heartbeat_ms: u64) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pin = pin_of_spki(&rcgen::PublicKeyData::subject_public_key_info(&certified.signing_key));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let key = EnrollmentKey::new(vec![], vec![endpoint.clone()], Some(pin.clone()), [1; 32]).encode();
        let (tell, heard) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let all = CancellationToken::new();
        let (accepting, state) = (all.clone(), shared.clone());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = accepting.cancelled() => return,
                };
                let Ok((tcp, _)) = accepted else { continue };
                if state.deaf.load(Ordering::SeqCst) {
                    continue;
                }
                let (acceptor, state, tell, stop) =
                    (acceptor.clone(), state.clone(), tell.clone(), accepting.child_token());
                tokio::spawn(async move { serve(acceptor, tcp, state, tell, stop, heartbeat_ms).await });
            }
        });
        Self { key, endpoint, heard, shared, all }
    }

    /// Says something to a node.
    pub fn say(&self, node_id: &str, message: impl Into<ServerMessage>) {
        let links = self.shared.links.lock().unwrap();
        links.get(node_id).expect("node is connected").0.send(Some(message.into())).unwrap();
    }

    /// Sends a command.
    pub fn run(&self, node_id: &str, execution_id: &str, text: &str) {
        self.say(node_id, Run { execution_id: execution_id.into(), command_text: text.into(), ..Run::default() });
    }

    /// Sends a command if the node is connected.
    pub fn try_run(&self, node_id: &str, execution_id: &str, text: &str) {
        let run = Run { execution_id: execution_id.into(), command_text: text.into(), ..Run::default() };
        if let Some((say, _)) = self.shared.links.lock().unwrap().get(node_id)
            && say.send(Some(run.into())).is_err()
        {
            // Its connection is being replaced.
        }
    }

    /// Everything of interest heard until it is quiet for `quiet_ms`.
    pub async fn gather<T>(&mut self, quiet_ms: u64, mut pick: impl FnMut(&ServerEvent) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        let end = Instant::now() + Duration::from_millis(quiet_ms);
        while let Ok(Some((_, event))) =
            tokio::time::timeout(end.saturating_duration_since(Instant::now()), self.heard.recv()).await
        {
            found.extend(pick(&event));
        }
        found
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for (_, (_, stop)) in self.shared.links.lock().unwrap().drain() {
            stop.cancel();
        }
    }

    /// Closes a node's connection once everything said before is written.
    pub fn hang_up(&self, node_id: &str) {
        let (say, _) = self.shared.links.lock().unwrap().remove(node_id).unwrap();
        say.send(None).unwrap();
    }

    /// The next thing heard for which `pick` has an answer.
    pub async fn hear<T>(&mut self, what: &str, mut pick: impl FnMut(&str, &ServerEvent) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + reeve_lab::PATIENCE;
        loop {
            let Ok(heard) = tokio::time::timeout_at(deadline, self.heard.recv()).await else {
                panic!("timed out waiting for {what}")
            };
            let (node, event) = heard.unwrap();
            if let Some(found) = pick(&node, &event) {
                return found;
            }
        }
    }

    pub async fn hello(&mut self) -> Hello {
        self.hear("hello", |_, event| match event {
            ServerEvent::Hello(hello) => Some((**hello).clone()),
            _ => None,
        })
        .await
    }

    pub async fn started(&mut self, execution_id: &str) {
        self.hear("start", |_, event| match event {
            ServerEvent::Started(started) if started.execution_id == execution_id => Some(()),
            _ => None,
        })
        .await
    }

    pub async fn result(&mut self, execution_id: &str) -> ExecutionResult {
        self.hear(&format!("result of {execution_id}"), |_, event| match event {
            ServerEvent::Result(result) if result.execution_id == execution_id => Some((**result).clone()),
            _ => None,
        })
        .await
    }

    pub async fn health(&mut self, healthy: bool) -> Heartbeat {
        self.hear("health", |_, event| match event {
            ServerEvent::Heartbeat(health) if health.healthy == healthy => Some(health.clone()),
            ServerEvent::Hello(hello) => hello.health.clone().filter(|h| h.healthy == healthy),
            _ => None,
        })
        .await
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    shared: Arc<Shared>,
    tell: mpsc::UnboundedSender<(String, ServerEvent)>,
    stop: CancellationToken,
    heartbeat_ms: u64,
) {
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return;
    };
    let exporter = stream.get_ref().1.export_keying_material([0u8; EXPORTER_LEN], EXPORTER_LABEL, None).unwrap();
    let began = Instant::now();
    let now = || u64::try_from(began.elapsed().as_millis()).unwrap();
    let mut session = ServerSession::new(heartbeat_ms, 0);
    let (say, mut messages) = mpsc::unbounded_channel();
    let mut node = String::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut close = false;
        while let Some(event) = session.poll_event() {
            match &event {
                ServerEvent::Enroll(enroll) => {
                    let signature = &enroll.signature;
                    assert!(proof::verify(&enroll.public_key, Purpose::Enroll, &enroll.node_id, &exporter, signature));
                    if let Some(refusal) = shared.refuse.lock().unwrap().clone() {
                        session.reject(refusal);
                    } else {
                        shared.keys.lock().unwrap().insert(enroll.node_id.clone(), enroll.public_key.clone());
                        let node_id = enroll.node_id.clone();
                        session.enrolled(
                            Enrolled { node_id, cluster_name: "default".into(), ..Enrolled::default() },
                            now(),
                        );
                    }
                }
                ServerEvent::Hello(hello) => {
                    node = hello.node_id.clone();
                    let key = shared.keys.lock().unwrap().get(&node).cloned();
                    let refusal = shared.refuse.lock().unwrap().clone();
                    let unknown = Rejected { error: "unknown_node".into(), ..Rejected::default() };
                    match (refusal, key) {
                        (Some(refusal), _) => session.reject(refusal),
                        (None, None) => session.reject(unknown),
                        (None, Some(key)) => {
                            assert!(proof::verify(&key, Purpose::Hello, &node, &exporter, &hello.signature));
                            session.welcome("test", 0, now());
                            shared.welcomed.fetch_add(1, Ordering::SeqCst);
                            shared.links.lock().unwrap().insert(node.clone(), (say.clone(), stop.clone()));
                        }
                    }
                }
                ServerEvent::Result(result) if !shared.no_ack.load(Ordering::SeqCst) => {
                    session.send(ResultAck { execution_id: result.execution_id.clone() });
                }
                ServerEvent::Closed(_) => close = true,
                _ => {}
            }
            if tell.send((node.clone(), event)).is_err() {
                return;
            }
        }
        let output = session.take_output();
        if stream.write_all(&output).await.is_err() || stream.flush().await.is_err() || close {
            return;
        }
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(n) if n > 0 => session.received(&buffer[..n], now()),
                _ => return,
            },
            Some(message) = messages.recv() => match message {
                Some(message) => session.send(message),
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}
