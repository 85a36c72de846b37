//! A domain with a fake fleet: arranged through the same use cases that the surfaces call.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_domain::agent::{self, Enrolled, Enrollment, Machine, Refusal, Report};
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::seal::Seal;
use reeve_domain::{App, background, cluster, command, enrollment_key};
use reeve_ports::{AgentLink, Answer, Order, Question, Unreached};
use reeve_testkit::db::TestDb;
use reeve_types::command::{TargetKind, Targeting};
use reeve_types::execution::{Execution, ExecutionFilter, ExecutionStatus, Outcome};
use reeve_types::id::{Ids, SystemIds};
use reeve_types::node::NodeIdType;
use reeve_types::node_metrics::Sample;
use reeve_types::{Actor, ExecutionId, ManualClock, NodeId, Page, Secret, ServerId, Timestamp};
use tokio_util::sync::CancellationToken;

/// The instant at which every test starts.
pub const START: Timestamp = Timestamp(1_770_000_000_000_000);

#[derive(Default)]
pub struct FakeAgents {
    connected: Mutex<HashSet<NodeId>>,
    orders: Mutex<HashMap<NodeId, Vec<Order>>>,
    /// What nodes say when they are asked; the others let it be.
    pub answers: Mutex<HashMap<NodeId, Sample>>,
}

impl FakeAgents {
    pub fn add(&self, node: &NodeId) {
        self.connected.lock().unwrap().insert(node.clone());
    }
    pub fn take(&self, node: &NodeId) -> Vec<Order> {
        self.orders.lock().unwrap().remove(node).unwrap_or_default()
    }
    pub fn runs(&self, node: &NodeId) -> Vec<ExecutionId> {
        let orders = self.orders.lock().unwrap();
        let of_node = orders.get(node).cloned().unwrap_or_default();
        of_node.into_iter().filter_map(|o| if let Order::Run(a) = o { Some(a.execution_id) } else { None }).collect()
    }
}

impl AgentLink for FakeAgents {
    fn deliver(&self, node: &NodeId, orders: Vec<Order>) -> bool {
        if !self.is_connected(node) {
            return false;
        }
        self.orders.lock().unwrap().entry(node.clone()).or_default().extend(orders);
        true
    }
    fn is_connected(&self, node: &NodeId) -> bool {
        self.connected.lock().unwrap().contains(node)
    }
    fn disconnect(&self, node: &NodeId, _: &str) {
        self.connected.lock().unwrap().remove(node);
    }
    fn ask<'a>(&'a self, node: &'a NodeId, _: Question, _: Duration) -> BoxFuture<'a, Result<Answer, Unreached>> {
        Box::pin(async move {
            if !self.is_connected(node) {
                return Err(Unreached::NotConnected);
            }
            let answers = self.answers.lock().unwrap();
            answers.get(node).cloned().map(|sample| Answer::Sample(Box::new(sample))).ok_or(Unreached::TimedOut)
        })
    }

    fn disconnect_all(&self, _: &str) {
        self.connected.lock().unwrap().clear();
    }
    fn send_away(&self, _: usize) -> usize {
        0
    }
    fn connected_count(&self) -> usize {
        self.connected.lock().unwrap().len()
    }
}

pub struct World {
    pub app: Arc<App>,
    pub clock: Arc<ManualClock>,
    pub agents: Arc<FakeAgents>,
    pub admin: Actor,
    stop: CancellationToken,
    _db: TestDb,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub async fn new(db: TestDb) -> Self {
        Self::configured(db, |_| {}).await
    }

    pub async fn configured(db: TestDb, change: impl FnOnce(&mut Config)) -> Self {
        let ids = SystemIds;
        let key = Seal::fresh_key(&ids);
        let secret = || Secret::new("k");
        let keys = StaticKeys { master: secret(), api: secret(), metrics: secret(), mcp: secret(), proxy: secret() };
        let mut config = Config::with_keys(keys);
        config.default_cluster = Some("main".into());
        // Tests beat by hand.
        config.server_lease = std::time::Duration::from_secs(3600);
        change(&mut config);
        let clock = Arc::new(ManualClock::at(START));
        let seal = Seal::new(vec![("k1".into(), key)]).unwrap();
        let app = App::new(db.store.clone(), clock.clone(), Arc::new(SystemIds), seal, config, ServerId("s1".into()));
        let app = Arc::new(app);
        let agents = Arc::new(FakeAgents::default());
        app.set_agents(agents.clone());
        let stop = CancellationToken::new();
        drop(tokio::spawn({
            let mut loops = background::start(&app, &stop);
            async move { while loops.join_next().await.is_some() {} }
        }));
        let world = Self { app, clock, agents, admin: Actor::system(), stop, _db: db };
        world.cluster("main", None).await;
        world
    }

    pub async fn cluster(&self, name: &str, limit: Option<i64>) {
        let input = cluster::Create { name: name.into(), ipv4_range: None, node_limit: limit };
        cluster::create(&self.app, &self.admin, input).await.unwrap();
    }

    pub async fn key(&self, cluster: &str, uses: Option<i64>, expired_at: Option<Timestamp>) -> String {
        let input = enrollment_key::Create { name: None, uses_remaining: uses, expired_at };
        enrollment_key::create(&self.app, &self.admin, cluster, input).await.unwrap().key.expose().to_owned()
    }

    pub async fn enroll(&self, key: &str, node: &str, public_key: u8) -> Result<Enrolled, Refusal> {
        let enrollment = Enrollment {
            key: key.into(),
            node_id: node.into(),
            id_type: NodeIdType::Random,
            public_key: vec![public_key; 32],
            machine: machine("1.0.0"),
        };
        agent::enroll(&self.app, enrollment).await.unwrap()
    }

    /// An enrolled and connected node in `cluster`.
    pub async fn node(&self, cluster: &str) -> NodeId {
        let id = SystemIds.next();
        let key = self.key(cluster, Some(1), None).await;
        self.enroll(&key, &id, 7).await.unwrap();
        let id = NodeId(id);
        self.connect(&id).await;
        id
    }

    pub async fn connect(&self, id: &NodeId) {
        self.connect_knowing(id, Vec::new()).await;
    }

    /// Connects a node whose agent takes part in self-updates.
    pub async fn connect_taking_part(&self, id: &NodeId) {
        self.agents.connected.lock().unwrap().insert(id.clone());
        let machine = Machine { self_update_enabled: true, ..machine("1.0.0") };
        agent::connected(&self.app, id, machine, Vec::new()).await.unwrap();
    }

    pub async fn connect_knowing(&self, id: &NodeId, known: Vec<agent::Known>) {
        self.agents.connected.lock().unwrap().insert(id.clone());
        agent::connected(&self.app, id, machine("1.0.0"), known).await.unwrap();
    }

    pub async fn disconnect(&self, id: &NodeId) {
        self.agents.connected.lock().unwrap().remove(id);
        agent::disconnected(&self.app, id).await.unwrap();
    }

    pub async fn run(&self, targeting: Targeting, rollout: Option<command::RolloutPlan>) -> reeve_types::CommandId {
        self.try_run(targeting, rollout, None).await.unwrap()
    }

    pub async fn try_run(
        &self,
        targeting: Targeting,
        rollout: Option<command::RolloutPlan>,
        expired_at: Option<Timestamp>,
    ) -> reeve_types::Result<reeve_types::CommandId> {
        let input = command::Create {
            command_text: "true".into(),
            timeout_ms: None,
            expired_at,
            targeting,
            targeting_document: serde_json::json!({"type": "all"}),
            rollout,
        };
        Ok(command::create(&self.app, &self.admin, input).await?.command.id)
    }

    pub async fn executions(&self, command: &reeve_types::CommandId) -> Vec<Execution> {
        let filter = ExecutionFilter { command_ids: vec![command.clone()], ..ExecutionFilter::default() };
        let page = Page { number: 1, size: 1000 };
        reeve_domain::execution::list(&self.app, &self.admin, &filter, &[], page).await.unwrap().items
    }

    /// Awaits that the executions of a command satisfy `condition`. What a fan-out made has then been delivered, too.
    pub async fn until(
        &self,
        command: &reeve_types::CommandId,
        condition: impl Fn(&[Execution]) -> bool,
    ) -> Vec<Execution> {
        let found = reeve_testkit::find("the executions to be so", async || {
            let last = self.executions(command).await;
            if condition(&last) { Ok(last) } else { Err(last) }
        })
        .await;
        self.fanned_out().await;
        found
    }

    pub async fn answer_accepted(&self, node: &NodeId, execution: &ExecutionId) {
        agent::report(&self.app, node, Report::Accepted(execution.clone())).await;
    }

    pub async fn count_events(&self, subject: &ExecutionId) -> i64 {
        let mut tx = self.app.store.read().await.unwrap();
        let sql = format!("SELECT count(*) FROM events WHERE subject = '{subject}'");
        tx.one(&sql, &[]).await.unwrap().get().unwrap()
    }

    /// Awaits that the pass which made executions has also delivered them to whoever is connected.
    async fn fanned_out(&self) {
        let running = || self.app.registry.status().iter().any(|s| s.name == background::FAN_OUT && s.running);
        reeve_testkit::until("the pass to end", || !running()).await;
    }

    pub async fn answer(&self, node: &NodeId, execution: &ExecutionId, exit_code: i64, output: &str) {
        agent::report(&self.app, node, Report::Accepted(execution.clone())).await;
        agent::report(&self.app, node, Report::Started(execution.clone())).await;
        agent::report(&self.app, node, Report::Outcome(outcome(execution, exit_code, output))).await;
    }
}

pub fn outcome(execution: &ExecutionId, exit_code: i64, output: &str) -> Outcome {
    Outcome {
        execution_id: execution.clone(),
        expired: false,
        exit_code: Some(exit_code),
        output: output.into(),
        completed_at: None,
    }
}

pub fn machine(version: &str) -> Machine {
    Machine {
        version: version.into(),
        ports: Default::default(),
        self_update_enabled: false,
        facts: Some("{}".into()),
        session: 0,
    }
}

pub fn everything() -> Targeting {
    Targeting {
        kind: TargetKind::All,
        node_ids: Vec::new(),
        cluster_names: Vec::new(),
        nodes: Default::default(),
        clusters: Default::default(),
        labels: None,
    }
}

pub fn all_are(status: ExecutionStatus, count: usize) -> impl Fn(&[Execution]) -> bool {
    move |rows| rows.len() == count && rows.iter().all(|row| row.status == status)
}
