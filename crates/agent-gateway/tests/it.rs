//! The gateway with a real app behind it and agents in front of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use reeve_agent::simulate::{self, SimulateOptions};
use reeve_agent::ssh_credentials::{Credential, Unanswered};
use reeve_agent::{Options, SshCredentials};
use reeve_agent_gateway::{Gateway, Hub, Limits, TlsIdentity};
use reeve_domain::App;
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::seal::Seal;
use reeve_domain::ssh_public_key::NewKey;
use reeve_domain::{cluster, command, enrollment_key, node, node_metrics, self_update, ssh_username};
use reeve_ports::{AgentLink, Unreached};
use reeve_testkit::db::TestDb;
use reeve_testkit::{PATIENCE, find, until};
use reeve_types::command::{TargetKind, Targeting};
use reeve_types::id::SystemIds;
use reeve_types::node::NodeFilter;
use reeve_types::time::SystemClock;
use reeve_types::{Actor, CommandId, NodeId, Page, Secret};
use rustls::pki_types::PrivateKeyDer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Server {
    app: Arc<App>,
    hub: Arc<Hub>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _db: TestDb,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn identity() -> TlsIdentity {
    let made = rcgen::generate_simple_self_signed(["reeve".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    TlsIdentity::from_der(vec![made.cert.der().clone()], key).unwrap()
}

impl Server {
    async fn start() -> Self {
        Self::sampling(Duration::from_secs(60)).await
    }

    /// With nodes that push a sample this often.
    async fn sampling(every: Duration) -> Self {
        Self::limited(every, Limits::default()).await
    }

    async fn limited(every: Duration, limits: Limits) -> Self {
        let db = TestDb::sqlite().await;
        let gateway = Gateway::bind("127.0.0.1:0", identity()).await.unwrap().with_limits(limits);
        let key = |word: &str| Secret::new(format!("{word}-{word}-{word}"));
        let keys = StaticKeys {
            master: key("master"),
            api: key("api"),
            metrics: key("metrics"),
            mcp: key("mcp"),
            proxy: key("proxy"),
        };
        let mut config = Config::with_keys(keys);
        config.agent_endpoints = vec![gateway.local_addr().to_string()];
        config.agent_pin = gateway.pin();
        config.sample_interval = every;
        config.scrape_timeout = PATIENCE;
        let sealing = Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([1; 32]));
        let seal = Seal::new(vec![("k1".into(), sealing)]).unwrap();
        let clock = Arc::new(SystemClock);
        let app = Arc::new(App::new(db.store.clone(), clock, Arc::new(SystemIds), seal, config, "server".into()));
        let hub = Arc::new(Hub::new());
        app.set_agents(hub.clone());
        let stop = CancellationToken::new();
        let mut loops = reeve_domain::background::start(&app, &stop);
        tokio::spawn(async move { while loops.join_next().await.is_some() {} });
        let serving = tokio::spawn(gateway.serve(app.clone(), hub.clone(), stop.clone()));
        let input =
            cluster::Create { name: "fleet".into(), ipv4_range: Some("100.64.0.0/16".into()), node_limit: None };
        cluster::create(&app, &Actor::system(), input).await.unwrap();
        Self { app, hub, stop, serving, _db: db }
    }

    async fn key(&self, uses: Option<i64>) -> String {
        let input = enrollment_key::Create { uses_remaining: uses, ..Default::default() };
        let made = enrollment_key::create(&self.app, &Actor::system(), "fleet", input).await.unwrap();
        made.key.expose().to_owned()
    }

    async fn run_everywhere(&self, text: &str) -> CommandId {
        let input = command::Create {
            command_text: text.into(),
            timeout_ms: None,
            expired_at: None,
            targeting: everything(),
            targeting_document: serde_json::json!({}),
            rollout: None,
        };
        command::create(&self.app, &Actor::system(), input).await.unwrap().command.id
    }

    /// Waits until so many executions of the command have succeeded.
    async fn succeeded(&self, id: &CommandId, count: i64) {
        find("so many successes", async || {
            let summary = command::get(&self.app, &Actor::system(), id).await.unwrap().summary;
            if summary.succeeded == count { Ok(()) } else { Err(summary) }
        })
        .await;
    }

    /// The one node there is, once it satisfies the condition.
    async fn only_node(&self, condition: impl Fn(&node::View) -> bool) -> NodeId {
        find("the node", async || {
            let page = Page::default();
            let found = node::list(&self.app, &Actor::system(), &NodeFilter::default(), &[], page).await.unwrap();
            let node = found.items.iter().find(|node| condition(node)).map(|node| node.node.id.clone());
            node.ok_or(found.items)
        })
        .await
    }

    async fn connected(&self, count: usize) {
        until("agents to connect", || self.hub.connected_count() == count).await;
    }

    async fn node_ids(&self) -> Vec<NodeId> {
        let mut tx = self.app.store.read().await.unwrap();
        let rows = tx.all("SELECT id FROM nodes ORDER BY id", &[]).await.unwrap();
        rows.into_iter().map(|mut row| row.get().unwrap()).collect()
    }

    fn simulate(&self, count: usize, key: String) -> JoinHandle<()> {
        let options = SimulateOptions {
            count,
            key,
            server: None,
            churn_per_second: 0.0,
            latency_ms: 0,
            fail_rate: 0.0,
            heartbeat_ms: None,
        };
        tokio::spawn(async move { simulate::run(options, |_| {}).await.unwrap() })
    }
}

fn everything() -> Targeting {
    Targeting {
        kind: TargetKind::All,
        node_ids: vec![],
        cluster_names: vec![],
        nodes: Default::default(),
        clusters: Default::default(),
        labels: None,
    }
}

#[tokio::test]
async fn a_real_agent_enrolls_runs_and_is_told_that_its_result_is_stored() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let options =
        Options { enroll: Some(server.key(Some(1)).await), random_id: true, ..Options::new(dir.path().join("agent")) };
    let agent = tokio::spawn(reeve_agent::run(options, stop.clone()));
    server.connected(1).await;
    let id = server.run_everywhere("echo hello; exit 0").await;
    server.succeeded(&id, 1).await;
    stop.cancel();
    agent.await.unwrap().unwrap();
    server.connected(0).await;
}

#[tokio::test]
async fn an_agent_gets_its_names_and_asks_who_is_let_in() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos";
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let credentials = SshCredentials::default();
    let aliases = ["web-1", "Not A Name"].map(str::to_owned).to_vec();
    let enroll = Some(server.key(Some(1)).await);
    let options = Options { enroll, random_id: true, aliases, ..Options::new(dir.path().join("agent")) };
    let typed = |text: &str| Credential::Password(text.to_owned());
    assert_eq!(credentials.verify("deploy", typed("x")).await, Err(Unanswered::NotConnected));
    let agent = tokio::spawn(reeve_agent::run_with(options, credentials.clone(), stop.clone()));
    let node = server.only_node(|node| node.aliases == ["web-1"]).await;
    let input = ssh_username::Create {
        username: "deploy".into(),
        password: Some(Secret::new("correct horse battery")),
        public_keys: vec![NewKey { key_name: "laptop".into(), public_key: KEY.into() }],
    };
    ssh_username::create(&server.app, &Actor::system(), &node, input).await.unwrap();
    assert_eq!(credentials.verify("deploy", typed("correct horse battery")).await, Ok(true));
    assert_eq!(credentials.verify("deploy", Credential::PublicKey(KEY.into())).await, Ok(true));
    assert_eq!(credentials.verify("deploy", typed("correct horse")).await, Ok(false));
    assert_eq!(credentials.verify("*", typed("correct horse battery")).await, Ok(false));
    stop.cancel();
    agent.await.unwrap().unwrap();
    let late = credentials.verify("deploy", typed("correct horse battery")).await;
    assert_eq!(late, Err(Unanswered::NotConnected));
}

#[tokio::test]
async fn who_says_nothing_does_not_keep_agents_out() {
    let limits = Limits {
        handshakes: 2,
        handshake_timeout: Duration::from_secs(3600),
        crowded_after: Duration::from_millis(20),
        crowded_timeout: Duration::from_millis(40),
        ..Limits::default()
    };
    let server = Server::limited(Duration::from_secs(60), limits).await;
    let address = server.app.config.agent_endpoints[0].clone();
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let agents = server.simulate(1, server.key(None).await);
    server.connected(1).await;
    agents.abort();
}

#[tokio::test]
async fn an_agent_says_that_it_cannot_replace_itself() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let enroll = Some(server.key(Some(1)).await);
    let options = Options { enroll, random_id: true, self_update: true, ..Options::new(dir.path().join("agent")) };
    let agent = tokio::spawn(reeve_agent::run(options, stop.clone()));
    let node = server.only_node(|node| node.node.self_update_enabled && node.node.connected_server.is_some()).await;
    let input = self_update::Create { targeting: everything(), targeting_document: Default::default(), rollout: None };
    let id = self_update::create(&server.app, &Actor::system(), input).await.unwrap().request.id;
    let summary = find("the answer", async || {
        let request = self_update::get(&server.app, &Actor::system(), &id).await.unwrap().request;
        request.summary.ok_or(request)
    })
    .await;
    assert_eq!((summary.total, summary.triggered, summary.failed), (1, 0, 1));
    let nodes = self_update::targets(&server.app, &Actor::system(), &id, &[], Page::default()).await.unwrap();
    let [target] = &nodes.items[..] else { panic!("{nodes:?}") };
    assert_eq!(target.node_id.as_ref(), Some(&node));
    assert!(target.reason.as_ref().unwrap().contains("cannot replace its own binary"), "{target:?}");
    stop.cancel();
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_spent_key_is_refused_with_its_word() {
    let server = Server::start().await;
    let key = server.key(Some(1)).await;
    let fleet = server.simulate(1, key.clone());
    server.connected(1).await;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { enroll: Some(key), random_id: true, ..Options::new(dir.path().join("agent")) };
    let error = reeve_agent::run(options, CancellationToken::new()).await.unwrap_err();
    assert!(error.message().contains("no use left"), "{error}");
    fleet.abort();
}

#[tokio::test]
async fn a_deleted_node_is_disconnected() {
    let server = Server::start().await;
    let fleet = server.simulate(1, server.key(None).await);
    server.connected(1).await;
    let mut tx = server.app.store.read().await.unwrap();
    let id: String = tx.one("SELECT id FROM nodes", &[]).await.unwrap().get().unwrap();
    drop(tx);
    server.hub.disconnect(&NodeId(id), "test");
    // It may be back before anybody looks.
    until("the agent to come back", || server.app.counters.connections.get() >= 2).await;
    server.connected(1).await;
    fleet.abort();
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let mut server = Server::start().await;
    let fleet = server.simulate(20, server.key(None).await);
    server.connected(20).await;
    server.stop.cancel();
    tokio::time::timeout(PATIENCE, &mut server.serving).await.unwrap().unwrap();
    assert_eq!(server.hub.connected_count(), 0);
    fleet.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_reaches_a_whole_fleet_once() {
    let server = Server::start().await;
    let fleet = server.simulate(200, server.key(None).await);
    server.connected(200).await;
    let id = server.run_everywhere("true").await;
    server.succeeded(&id, 200).await;
    fleet.abort();
    server.connected(0).await;
}

fn proc(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{name}")).unwrap()
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Whether two readings of something that moves are of the same thing.
fn near(a: u64, b: u64, percent: u64) -> bool {
    a.abs_diff(b) * 100 <= a.max(b) * percent
}

#[tokio::test]
async fn a_real_agent_measures_what_the_kernel_says() {
    let server = Server::sampling(Duration::from_millis(700)).await;
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let options =
        Options { enroll: Some(server.key(Some(1)).await), random_id: true, ..Options::new(dir.path().join("agent")) };
    let agent = tokio::spawn(reeve_agent::run(options, stop.clone()));
    server.connected(1).await;
    let id = server.run_everywhere("true").await;
    server.succeeded(&id, 1).await;
    // Two pushes, so that the answer has shares and rates.
    until("samples to be pushed", || server.app.counters.samples.get() >= 2).await;
    let node = server.node_ids().await.remove(0);
    let load = || -> f64 { proc("loadavg").split(' ').next().unwrap().parse().unwrap() };
    let before = load();
    let live = node_metrics::read(&server.app, &Actor::system(), &node).await.unwrap().sample;
    let after = load();
    let (host, process) = (live.host.unwrap(), live.agent.unwrap());

    let (stat, meminfo, uptime) = (proc("stat"), proc("meminfo"), proc("uptime"));
    let cores = stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    assert_eq!((host.cores.unwrap() as usize, host.cpus.len()), (cores, cores.min(256)));
    let memory = host.memory.unwrap();
    assert_eq!(memory.total, kilobytes(&meminfo, "MemTotal:"));
    assert!(near(memory.available.unwrap(), kilobytes(&meminfo, "MemAvailable:"), 50), "{memory:?}");
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(near(host.uptime_ms.unwrap() / 1_000, seconds as u64, 5));
    // On a busy machine it moves between two looks; what was pushed a while ago is no answer here.
    let told = f64::from(host.load_hundredths.unwrap()[0]) / 100.0;
    assert!(before.min(after) - 0.02 <= told && told <= before.max(after) + 0.02, "{before} {told} {after}");
    let idle: u64 = stat.lines().find(|l| l.starts_with("cpu0 ")).unwrap().split(' ').nth(4).unwrap().parse().unwrap();
    assert!(near(host.cpus[0].spent[3], idle, 5));
    let dev = proc("net/dev");
    let mut names: Vec<&str> = dev.lines().filter_map(|l| Some(l.split_once(':')?.0.trim())).collect();
    names.retain(|name| *name != "lo");
    names.sort_unstable();
    assert!(host.interfaces.iter().map(|i| i.name.as_str()).eq(names.into_iter().take(32)));
    let told = std::process::Command::new("stat").args(["-f", "-c", "%b %S", "/"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let (blocks, size) = told.trim().split_once(' ').unwrap();
    assert_eq!(host.disk.unwrap().size, blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap());
    assert!(host.busy_permille.unwrap() <= 1_000);

    assert!(near(process.resident_bytes.unwrap(), kilobytes(&proc("self/status"), "VmRSS:"), 30));
    assert_eq!((process.commands_accepted, process.commands_completed, process.commands_running), (1, 1, 0));
    assert_eq!((process.syncs, process.dials), (1, 1));
    stop.cancel();
    agent.await.unwrap().unwrap();
    server.connected(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_pushes_one_row_each_and_answers_at_once() {
    let server = Server::sampling(Duration::from_millis(500)).await;
    let fleet = server.simulate(200, server.key(None).await);
    server.connected(200).await;
    until("samples to be pushed", || server.app.counters.samples.get() >= 600).await;
    // Some push more often than others on a busy machine.
    find("a row of everybody", async || {
        node_metrics::flush(&server.app).await.unwrap();
        let mut tx = server.app.store.read().await.unwrap();
        let rows: i64 = tx.one("SELECT count(*) FROM node_metrics", &[]).await.unwrap().get().unwrap();
        if rows == 200 { Ok(()) } else { Err(rows) }
    })
    .await;
    let nodes = server.node_ids().await;
    let system = Actor::system();
    let asked = nodes.iter().map(|id| node_metrics::read(&server.app, &system, id));
    for reading in futures::future::join_all(asked).await {
        assert!(reading.unwrap().sample.host.unwrap().memory.is_some());
    }
    assert_eq!(server.app.counters.questions_unanswered.get(), 0);
    fleet.abort();
    server.connected(0).await;
    let gone = server.hub.ask(&nodes[0], reeve_ports::Question::Sample, Duration::from_secs(1)).await;
    assert_eq!(gone, Err(Unreached::NotConnected));
}
