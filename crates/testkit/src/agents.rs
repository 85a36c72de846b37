//! Agents inside the test's process: they enroll through the domain and run their commands with `sh`, without network.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_domain::agent::{self, Enrollment, Machine, Report};
use reeve_domain::{App, enrollment_key, self_update};
use reeve_ports::{AgentLink, Answer, Order, Question, Unreached};
use reeve_types::execution::{Assignment, EXIT_CANCELLED, EXIT_TIMED_OUT, Outcome};
use reeve_types::node::{NodeIdType, NodePorts};
use reeve_types::node_metrics::{AgentProcess, CpuTime, Disk, Host, Interface, Memory, Sample};
use reeve_types::{Actor, ExecutionId, NodeId};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

/// The version that these agents tell.
pub const VERSION: &str = "9.9.9-test";

/// What an agent does when it is asked to update itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// It does not take part.
    #[default]
    Off,
    /// It says that it begins.
    Begins,
    /// It says that it cannot.
    Refuses,
    /// It says nothing.
    Silent,
}

/// The agents of one app, and its way to them.
#[derive(Default)]
pub struct LocalAgents {
    app: OnceLock<Weak<App>>,
    connected: Mutex<HashMap<NodeId, mpsc::UnboundedSender<Order>>>,
    telling: Mutex<HashMap<NodeId, Telling>>,
    updates: Mutex<HashMap<NodeId, Updates>>,
}

impl LocalAgents {
    /// Agents for `app`, connected as its way to agents.
    pub fn attach(app: &Arc<App>) -> Arc<Self> {
        let agents = Arc::new(Self::default());
        agents.app.set(Arc::downgrade(app)).expect("attached once");
        app.set_agents(agents.clone());
        agents
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, mpsc::UnboundedSender<Order>>> {
        self.connected.lock().expect("no panic while it is held")
    }

    fn app(&self) -> Arc<App> {
        self.app.get().and_then(Weak::upgrade).expect("the app is there")
    }

    /// Enrolls a fresh node into the cluster and connects it.
    pub async fn enroll(&self, cluster: &str) -> NodeId {
        self.enroll_with(cluster, Updates::Off).await
    }

    /// As [`LocalAgents::enroll`], with an agent that deals so with updates.
    pub async fn enroll_with(&self, cluster: &str, updates: Updates) -> NodeId {
        let app = self.app();
        let key = enrollment_key::Create { uses_remaining: Some(1), ..Default::default() };
        let key = enrollment_key::create(&app, &Actor::system(), cluster, key).await.expect("a key");
        let mut public_key = vec![0; 32];
        app.ids.fill(&mut public_key);
        let node_id = NodeId(app.ids.next());
        let enrollment = Enrollment {
            key: key.key.expose().to_owned(),
            node_id: node_id.clone(),
            id_type: NodeIdType::Random,
            public_key,
            machine: machine(updates),
        };
        agent::enroll(&app, enrollment).await.expect("a working store").expect("a place for the node");
        self.updates.lock().expect("no panic while it is held").insert(node_id.clone(), updates);
        self.connect(&node_id).await;
        node_id
    }

    /// Connects an enrolled node, with an empty journal.
    pub async fn connect(&self, node: &NodeId) {
        let app = self.app();
        let (orders, received) = mpsc::unbounded_channel();
        self.lock().insert(node.clone(), orders);
        let updates = self.updates.lock().expect("no panic while it is held").get(node).copied().unwrap_or_default();
        tokio::spawn(work(Arc::downgrade(&app), node.clone(), updates, received));
        agent::connected(&app, node, machine(updates), Vec::new()).await.expect("the node is known");
    }

    /// What the node says when it is asked for a sample; None says nothing.
    pub fn tell(&self, node: &NodeId, sample: Option<Sample>) {
        let telling = sample.map_or(Telling::Nothing, |sample| Telling::Sample(Box::new(sample)));
        self.telling.lock().expect("no panic while it is held").insert(node.clone(), telling);
    }

    /// Cuts a node off; what it ran is killed.
    pub async fn stop(&self, node: &NodeId) {
        self.lock().remove(node);
        agent::disconnected(&self.app(), node).await.expect("a working store");
    }
}

impl AgentLink for LocalAgents {
    fn deliver(&self, node: &NodeId, orders: Vec<Order>) -> bool {
        match self.lock().get(node) {
            None => false,
            Some(queue) => orders.into_iter().all(|order| queue.send(order).is_ok()),
        }
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.lock().contains_key(node)
    }

    fn disconnect(&self, node: &NodeId, _: &str) {
        self.lock().remove(node);
    }

    fn ask<'a>(&'a self, node: &'a NodeId, _: Question, _: Duration) -> BoxFuture<'a, Result<Answer, Unreached>> {
        Box::pin(async move {
            if !self.is_connected(node) {
                return Err(Unreached::NotConnected);
            }
            match self.telling.lock().expect("no panic while it is held").get(node) {
                Some(Telling::Nothing) => Err(Unreached::TimedOut),
                Some(Telling::Sample(sample)) => Ok(Answer::Sample(sample.clone())),
                None => Ok(Answer::Sample(Box::new(sample()))),
            }
        })
    }

    fn disconnect_all(&self, _: &str) {
        self.lock().clear();
    }

    fn send_away(&self, _: usize) -> usize {
        0
    }
    fn connected_count(&self) -> usize {
        self.lock().len()
    }
}

/// What a node answers when it is asked.
enum Telling {
    Nothing,
    Sample(Box<Sample>),
}

/// A machine with two processors and half of everything in use.
pub fn sample() -> Sample {
    let memory = Memory {
        total: 8 << 30,
        available: Some(4 << 30),
        free: Some(1 << 30),
        buffers: Some(0),
        cached: Some(3 << 30),
        swap_total: Some(0),
        swap_free: Some(0),
    };
    let cpu = |number| CpuTime { number, spent: [300, 0, 100, 9_000, 50, 0, 1, 0] };
    let interface = Interface { name: "eth0".into(), received_bytes: 1_000, sent_bytes: 2_000, ..Default::default() };
    let host = Host {
        cores: Some(2),
        load_hundredths: Some([150, 100, 50]),
        running_processes: Some(3),
        uptime_ms: Some(90_061_000),
        memory: Some(memory),
        disk: Some(Disk { size: 100 << 30, free: 60 << 30, available: 50 << 30 }),
        cpus: vec![cpu(0), cpu(1)],
        interfaces: vec![interface],
        busy_permille: Some(255),
        received_bytes_per_second: Some(10),
        sent_bytes_per_second: Some(20),
    };
    let agent = AgentProcess {
        uptime_ms: 172_800_000,
        resident_bytes: Some(3 << 20),
        tasks: Some(7),
        commands_accepted: 152,
        commands_completed: 150,
        commands_expired: 1,
        results_stored: 149,
        commands_running: 1,
        results_waiting: 1,
        syncs: 6,
        heartbeats: 5_760,
        dials: 9,
        ..AgentProcess::default()
    };
    Sample { host: Some(host), agent: Some(agent) }
}

fn machine(updates: Updates) -> Machine {
    Machine {
        session: 0,
        version: VERSION.to_owned(),
        ports: NodePorts::default(),
        self_update_enabled: updates != Updates::Off,
        facts: Some(r#"{"os":"linux","arch":"x86_64"}"#.to_owned()),
    }
}

/// Takes orders until the connection is cut.
async fn work(app: Weak<App>, node: NodeId, updates: Updates, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut cancels: HashMap<ExecutionId, oneshot::Sender<()>> = HashMap::new();
    let mut runs = tokio::task::JoinSet::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Run(assignment) => {
                let (cancel, cancelled) = oneshot::channel();
                if cancels.insert(assignment.execution_id.clone(), cancel).is_none() {
                    runs.spawn(run(app.clone(), node.clone(), assignment, cancelled));
                }
            }
            Order::Cancel(id) => {
                if let Some(cancel) = cancels.remove(&id) {
                    cancel.send(()).ok();
                }
            }
            Order::Stored(id) | Order::Forget(id) => drop(cancels.remove(&id)),
            Order::SelfUpdate(request) if updates != Updates::Silent => {
                let (begins, reason) = (updates == Updates::Begins, "this one refuses");
                if let Some(app) = app.upgrade() {
                    self_update::answered(&app, &node, &request, begins, reason).await.expect("a working store");
                }
            }
            Order::SelfUpdate(_) | Order::SshVerified { .. } => {}
        }
    }
}

async fn run(app: Weak<App>, node: NodeId, assignment: Assignment, cancelled: oneshot::Receiver<()>) {
    let id = assignment.execution_id;
    let tell = async |report| {
        if let Some(app) = app.upgrade() {
            agent::report(&app, &node, report).await;
        }
    };
    tell(Report::Accepted(id.clone())).await;
    tell(Report::Started(id.clone())).await;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&*assignment.command_text).stdin(Stdio::null()).kill_on_drop(true);
    let limit = std::time::Duration::from_millis(assignment.timeout_ms.map_or(u64::from(u32::MAX), i64::unsigned_abs));
    let (exit_code, output) = tokio::select! {
        ended = tokio::time::timeout(limit, shell.output()) => match ended {
            Ok(ended) => {
                let ended = ended.expect("sh starts");
                let output = [ended.stdout, ended.stderr].concat();
                (i64::from(ended.status.code().unwrap_or(1)), String::from_utf8_lossy(&output).into_owned())
            }
            Err(_) => (EXIT_TIMED_OUT, "Command timed out\n".to_owned()),
        },
        Ok(()) = cancelled => (EXIT_CANCELLED, "Command cancelled\n".to_owned()),
    };
    if !output.is_empty() {
        tell(Report::Output { execution_id: id.clone(), offset: 0, text: output.clone() }).await;
    }
    let completed_at = app.upgrade().map(|app| app.now());
    let outcome = Outcome { execution_id: id, expired: false, exit_code: Some(exit_code), output, completed_at };
    tell(Report::Outcome(outcome)).await;
}
