//! A whole server inside the test's process: domain, background loops and both surfaces, each on a free port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::Request;
use futures::future::BoxFuture;
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::identity::user;
use reeve_domain::seal::Seal;
use reeve_domain::{App, background, cluster, idempotency, identity, server};
use reeve_http_kit::auth::Authenticate;
use reeve_http_kit::idempotency::IdempotencyStore;
use reeve_http_kit::limits::{LimitRates, Limits};
use reeve_http_kit::listener::{Listener, ListenerOptions};
use reeve_http_kit::surface::Kit;
use reeve_http_kit::{Contract, Mounted};
use reeve_providers::fetch::Guard;
use reeve_types::access::{IdempotencyKey, Lookup, StoredReply};
use reeve_types::id::{Ids, SystemIds};
use reeve_types::node_metrics::Sample;
use reeve_types::{Actor, ErrorKind, NodeId, Permission, Result, Role, Secret, ServerId, SystemClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::agents::{LocalAgents, Updates};
use crate::clouds::SimulatedClouds;
use crate::db::TestDb;
use crate::exchange::{Given, Keys, TestHost};

/// The password of users that exchanges ask for.
pub const PASSWORD: &str = "long enough for anybody";

/// A running server with its database. Ends when it is dropped.
pub struct TestApp {
    /// The domain.
    pub app: Arc<App>,
    /// Its agents.
    pub agents: Arc<LocalAgents>,
    /// Base URL of the edge surface.
    pub url: String,
    /// Base URL of the console's own API.
    pub console_url: String,
    /// Base URL of the provisioning surface.
    pub provisioning_url: String,
    /// Its keys.
    pub keys: Keys,
    /// What the edge surface promises.
    pub contract: Arc<Contract>,
    /// What the console's own API promises.
    pub console_contract: Arc<Contract>,
    /// What the provisioning surface promises.
    pub provisioning_contract: Arc<Contract>,
    /// The vendors of machines that the application knows.
    pub clouds: Arc<SimulatedClouds>,
    db: TestDb,
    allow_private: bool,
    seal: Seal,
    degraded: Arc<AtomicBool>,
    named: BTreeMap<String, NodeId>,
    routers: [Arc<RwLock<Router>>; 3],
    loops: CancellationToken,
    draining: CancellationToken,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.loops.cancel();
        self.draining.cancel();
    }
}

impl TestApp {
    /// On an empty SQLite store.
    pub async fn sqlite() -> Self {
        Self::on(TestDb::sqlite().await).await
    }

    /// On an empty PostgreSQL store.
    pub async fn postgres() -> Self {
        Self::on(TestDb::postgres().await).await
    }

    /// On this store.
    pub async fn on(db: TestDb) -> Self {
        Self::with(db, true).await
    }

    /// On this store, as an installation that keeps its own requests away from private addresses.
    pub async fn strict(db: TestDb) -> Self {
        Self::with(db, false).await
    }

    async fn with(db: TestDb, allow_private: bool) -> Self {
        // For every client of a test; fails when another test was first, which is fine.
        rustls::crypto::ring::default_provider().install_default().ok();
        let ids = SystemIds;
        let fresh = |name: &str| Secret::new(format!("{name}-{}", ids.next()));
        let keys = StaticKeys {
            master: fresh("master"),
            api: fresh("api"),
            metrics: fresh("metrics"),
            mcp: fresh("mcp"),
            proxy: fresh("proxy"),
        };
        let shown = Keys {
            master: keys.master.expose().to_owned(),
            api: keys.api.expose().to_owned(),
            metrics: keys.metrics.expose().to_owned(),
        };
        let seal = Seal::new(vec![("test".to_owned(), Seal::fresh_key(&ids))]).expect("a sealing key");
        let (degraded, draining) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let clouds = Arc::new(SimulatedClouds::open().await);
        let mut config = Config::with_keys(keys);
        clouds.configure(&mut config);
        config.provisioning.poll = std::time::Duration::from_millis(20);
        let parts = Parts::build(&db, &seal, config, &clouds, &degraded, &draining, allow_private).await;

        let (edge, url) = listen(&parts.edge, &draining).await;
        let (console, console_url) = listen(&parts.console, &draining).await;
        let (provisioning, provisioning_url) = listen(&parts.provisioning, &draining).await;
        let (contract, console_contract) = (parts.edge.contract().clone(), parts.console.contract().clone());
        let provisioning_contract = parts.provisioning.contract().clone();
        let (routers, Parts { app, agents, loops, .. }) = ([edge, console, provisioning], parts);
        Self {
            app,
            agents,
            url,
            console_url,
            provisioning_url,
            keys: shown,
            contract,
            console_contract,
            provisioning_contract,
            clouds,
            db,
            allow_private,
            seal,
            degraded,
            named: BTreeMap::new(),
            routers,
            loops,
            draining,
        }
    }

    /// Goes on with another configuration on the same store. Agents that were connected are not any more.
    pub async fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.app.config.clone();
        change(&mut config);
        self.loops.cancel();
        let parts = Parts::build(
            &self.db,
            &self.seal,
            config,
            &self.clouds,
            &self.degraded,
            &self.draining,
            self.allow_private,
        )
        .await;
        for (router, mounted) in self.routers.iter().zip([&parts.edge, &parts.console, &parts.provisioning]) {
            *router.write().expect("no panic while it is held") = mounted.router("", Router::new());
        }
        (self.app, self.agents, self.loops) = (parts.app, parts.agents, parts.loops);
    }

    /// Of these changes, as (operation, request id), the operations that left no audit entry.
    pub async fn without_audit_entry(&self, changes: &[(String, String)]) -> Vec<String> {
        let mut tx = self.db.store.read().await.expect("a working store");
        let mut audited = BTreeSet::new();
        let mut last = 0;
        loop {
            let page = reeve_store::audit::after(&mut tx, last, 1000).await.expect("a working store");
            let Some(entry) = page.last() else { break };
            last = entry.seq;
            audited.extend(page.into_iter().map(|entry| entry.request_id));
        }
        changes.iter().filter(|(_, request)| !audited.contains(request)).map(|(name, _)| name.clone()).collect()
    }

    async fn bring_about(&mut self, what: &Value) -> Option<BTreeMap<String, Value>> {
        let mut variables = BTreeMap::new();
        if let Some(degraded) = what["degraded"].as_bool() {
            self.degraded.store(degraded, Ordering::SeqCst);
        } else if let (Some(name), Some(cluster)) = (what["agent"].as_str(), what["enroll"].as_str()) {
            let updates = match what["self_update"].as_str() {
                Some("begins") => Updates::Begins,
                Some("refuses") => Updates::Refuses,
                Some("silent") => Updates::Silent,
                Some(_) => return None,
                None => Updates::Off,
            };
            let node = self.agents.enroll_with(cluster, updates).await;
            variables.insert(name.to_owned(), json!(node));
            self.named.insert(name.to_owned(), node);
        } else if let (Some(name), Some(true)) = (what["agent"].as_str(), what["stop"].as_bool()) {
            self.agents.stop(self.named.get(name)?).await;
        } else if let (Some(name), Some(shown)) = (what["agent"].as_str(), what["pushes"].as_str()) {
            let node = self.named.get(name)?;
            self.agents.tell(node, None);
            reeve_domain::node_metrics::note(&self.app, node, pushed(shown)?);
            reeve_domain::node_metrics::flush(&self.app).await.expect("a working store");
        } else if let (Some(name), Some(false)) = (what["agent"].as_str(), what["answers"].as_bool()) {
            self.agents.tell(self.named.get(name)?, None);
        } else if let Some(name) = what["cluster"].as_str() {
            let fresh = cluster::Create { name: name.to_owned(), ipv4_range: None, node_limit: None };
            cluster::create(&self.app, &Actor::system(), fresh).await.expect("a cluster");
        } else if let Some(password) = what["first_admin"].as_str() {
            let made = identity::bootstrap::first_admin(&self.app, Some(Secret::new(password))).await;
            made.expect("a working store");
        } else if let Some(enabled) = what["pruning"].as_bool() {
            self.reconfigure(|config| config.execution_pruning.enabled = enabled).await;
        } else if what["seal_keys"] == true {
            self.app.set_seal_keys(Arc::new(KeptInMemory));
        } else if let (Some(name), Some(role)) = (what["user"].as_str(), what["role"].as_str().and_then(Role::parse)) {
            let input = user::Create { username: name.to_owned(), password: Secret::new(PASSWORD), role };
            user::create(&self.app, &Actor::system(), input).await.expect("a user");
        } else if let Some(still) = what["clouds_stand_still"].as_bool() {
            self.clouds.stand_still(still);
        } else if let Some(max_peers) = what["max_peers"].as_i64() {
            self.reconfigure(|config| config.max_peers = max_peers).await;
        } else if let Some(cluster) = what.get("default_cluster") {
            let (cluster, public) = (cluster.as_str().map(str::to_owned), what["public_keys"].as_bool() == Some(true));
            self.reconfigure(|config| (config.default_cluster, config.public_enrollment_keys) = (cluster, public))
                .await;
        } else {
            return None;
        }
        if let Some(name) = what["as"].as_str() {
            variables.insert(name.to_owned(), json!(true));
        }
        Some(variables)
    }
}

impl TestHost for TestApp {
    fn given<'a>(&'a mut self, what: &'a Value) -> Given<'a> {
        Box::pin(async { Ok(self.bring_about(what).await) })
    }
}

/// What a node can be made to push: everything, or only one half.
fn pushed(shown: &str) -> Option<Sample> {
    let whole = crate::agents::sample();
    Some(match shown {
        "everything" => whole,
        "host" => Sample { agent: None, ..whole },
        "agent" => Sample { host: None, ..whole },
        _ => return None,
    })
}

/// Serves `mounted` on a free port. The router is looked up for each request: `given` steps can put another
/// configuration in its place.
async fn listen(mounted: &Mounted, draining: &CancellationToken) -> (Arc<RwLock<Router>>, String) {
    let router = Arc::new(RwLock::new(mounted.router("", Router::new())));
    let present = router.clone();
    let outer = Router::new().fallback(move |request: Request| {
        let router = present.read().expect("no panic while it is held").clone();
        async move { router.oneshot(request).await }
    });
    let free: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = Listener::bind(mounted.name(), free, ListenerOptions::default()).await.expect("a free port");
    let url = listener.url();
    tokio::spawn(listener.serve(outer, draining.clone()));
    (router, url)
}

/// Sealing keys that may be changed and are kept by the process alone.
struct KeptInMemory;

impl reeve_ports::SealKeys for KeptInMemory {
    fn may_change(&self) -> Result<()> {
        Ok(())
    }
    fn keep(&self, _: &[(String, Secret)]) -> Result<()> {
        Ok(())
    }
}

struct Parts {
    app: Arc<App>,
    agents: Arc<LocalAgents>,
    edge: Mounted,
    console: Mounted,
    provisioning: Mounted,
    loops: CancellationToken,
}

impl Parts {
    async fn build(
        db: &TestDb,
        seal: &Seal,
        config: Config,
        clouds: &SimulatedClouds,
        degraded: &Arc<AtomicBool>,
        draining: &CancellationToken,
        allow_private: bool,
    ) -> Self {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let id = ServerId("testserver".to_owned());
        let app = Arc::new(App::new(db.store.clone(), clock.clone(), ids.clone(), seal.clone(), config, id));
        let about = server::About { version: "test".to_owned(), listeners: "{}".to_owned() };
        server::join(&app, about).await.expect("a working store");
        app.set_fetch(Arc::new(reeve_providers::fetch::Fetcher::new(Guard { allow_private })));
        app.set_backup_site(Arc::new(crate::backups::MemorySite::default()));
        app.set_clouds(clouds.factory(clock.clone()));
        let machines = crate::remote::FakeMachines::default();
        machines.boots_by(clouds.restarts());
        app.set_remote(Arc::new(machines));
        let agents = LocalAgents::attach(&app);
        let loops = CancellationToken::new();
        let mut running = background::start(&app, &loops);
        tokio::spawn(async move { while running.join_next().await.is_some() {} });

        let mut kit = Kit::new(clock, ids, Arc::new(Bearers(app.clone())));
        kit.idempotency = Some(Arc::new(KeptReplies(app.clone())));
        kit.limits = Arc::new(Limits::new(LimitRates::OFF));
        kit.degraded = degraded.clone();
        kit.draining = draining.clone();
        // The gate is shut while the domain says so; what a `given` step says holds until the domain says something else.
        let (said, gate, ended) = (app.degraded.clone(), degraded.clone(), loops.clone());
        tokio::spawn(async move {
            let mut before = gate.load(Ordering::SeqCst);
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
            while ended.run_until_cancelled(tick.tick()).await.is_some() {
                let now = said.load(Ordering::SeqCst);
                if now != before {
                    gate.store(now, Ordering::SeqCst);
                    before = now;
                }
            }
        });
        let fits = "routes that fit the contract";
        let edge = reeve_surface_edge::routes::surface(app.clone(), kit.clone()).expect(fits);
        let console = reeve_surface_console::routes::surface(app.clone(), kit.clone(), Arc::default()).expect(fits);
        let about = Arc::new(reeve_surface_provisioning::About { version: "0.1.0", started_at: app.now() });
        let provisioning = reeve_surface_provisioning::routes::surface(app.clone(), kit, about).expect(fits);
        Self { app, agents, edge, console, provisioning, loops }
    }
}

/// Bearer credentials, asked of the domain.
pub struct Bearers(pub Arc<App>);

impl Authenticate for Bearers {
    fn authenticate<'a>(
        &'a self,
        bearer: Option<&'a str>,
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Option<Actor>>> {
        Box::pin(async move {
            let Some(bearer) = bearer else { return Ok(None) };
            let remote = peer.map(|p| p.to_string()).unwrap_or_default();
            match identity::authenticate::authenticate(&self.0, bearer, &remote).await {
                Ok(actor) => Ok(Some(actor)),
                Err(error) if error.kind == ErrorKind::Unauthenticated => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn revoked(&self, bearer: &str, permission: Permission) -> BoxFuture<'static, ()> {
        Box::pin(identity::authenticate::revoked(self.0.clone(), bearer.to_owned(), permission))
    }
}

/// Idempotency keys, kept by the domain.
pub struct KeptReplies(pub Arc<App>);

impl IdempotencyStore for KeptReplies {
    fn lookup<'a>(&'a self, actor: &'a Actor, _: &'a IdempotencyKey) -> BoxFuture<'a, Result<Lookup>> {
        Box::pin(idempotency::lookup(&self.0, actor))
    }

    fn complete<'a>(
        &'a self,
        actor: &'a Actor,
        _: &'a IdempotencyKey,
        reply: StoredReply,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { idempotency::complete(&self.0, actor, &reply).await })
    }
}
