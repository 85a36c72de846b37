//! Machines at simulated vendors: made, switched, deleted, in workflows, with everything that can go wrong in between.

mod faults;
mod operations;
mod plans;
mod played;
mod taskservs;
mod workflows;
mod workspaces;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::host::{self, Create, Delete};
use reeve_domain::seal::Seal;
use reeve_domain::{App, background, operation, workspace};
use reeve_jobs::fault::{Accident, Point};
use reeve_jobs::{Options, Runner};
use reeve_ports::cloud::LabelFilter;
use reeve_testkit::clouds::SimulatedClouds;
use reeve_testkit::db::TestDb;
use reeve_types::host::{Host, HostFilter};
use reeve_types::id::SystemIds;
use reeve_types::operation::{Operation, OperationStatus};
use reeve_types::workspace::Defaults;
use reeve_types::{Actor, ManualClock, OperationId, Result, Secret, Timestamp};

pub const START: Timestamp = Timestamp(1_770_000_000_000_000);

/// Where somebody is at the N-th moment of all sagas.
pub type Meet = dyn Fn(Point, usize) -> Option<Accident> + Send + Sync;

/// An application whose jobs run when the test says so.
pub struct Site {
    pub app: Arc<App>,
    pub clock: Arc<ManualClock>,
    pub clouds: SimulatedClouds,
    pub admin: Actor,
    _db: TestDb,
}

impl Site {
    /// With the workspace `w`, whose defaults are UpCloud's.
    pub async fn new(db: TestDb) -> Self {
        Self::configured(db, |_| {}).await
    }

    pub async fn configured(db: TestDb, change: impl FnOnce(&mut Config)) -> Self {
        let ids = SystemIds;
        let secret = || Secret::new("k");
        let keys = StaticKeys { master: secret(), api: secret(), metrics: secret(), mcp: secret(), proxy: secret() };
        let clouds = SimulatedClouds::open().await;
        let mut config = Config::with_keys(keys);
        clouds.configure(&mut config);
        // The clock jumps far in the fault tests.
        config.provisioning.boot_patience = Duration::from_secs(24 * 3600);
        change(&mut config);
        let clock = Arc::new(ManualClock::at(START));
        let seal = Seal::new(vec![("k1".into(), Seal::fresh_key(&ids))]).unwrap();
        let app = App::new(db.store.clone(), clock.clone(), Arc::new(SystemIds), seal, config, "s1".into());
        app.set_clouds(clouds.factory(clock.clone()));
        let site = Self { app: Arc::new(app), clock, clouds, admin: Actor::system(), _db: db };
        let defaults = Defaults {
            provider: Some("upcloud".into()),
            plan: Some("1xCPU-1GB".into()),
            zone: Some("de-fra1".into()),
            image: None,
        };
        site.workspace("w", defaults).await.unwrap();
        site
    }

    pub async fn workspace(&self, name: &str, defaults: Defaults) -> Result<reeve_types::workspace::Workspace> {
        let input = workspace::Create { name: name.into(), defaults, ..workspace::Create::default() };
        workspace::create(&self.app, &self.admin, input).await
    }

    pub fn order(&self, hostname: &str) -> Create {
        Create { workspace: "w".into(), hostname: hostname.into(), ..Create::default() }
    }

    pub async fn create(&self, input: Create) -> Result<Operation> {
        host::create(&self.app, &self.admin, input, None).await
    }

    pub async fn delete(&self, host: &Host, force: bool) -> Result<Operation> {
        let input = Delete { server: host.handle.clone(), force, ..Delete::default() };
        host::delete(&self.app, &self.admin, input).await
    }

    /// A host that is up.
    pub async fn host(&self, hostname: &str) -> Host {
        let made = self.create(self.order(hostname)).await.unwrap();
        let done = self.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        self.hosts().await.into_iter().find(|host| host.hostname == hostname).unwrap()
    }

    pub async fn hosts(&self) -> Vec<Host> {
        host::list(&self.app, &self.admin, HostFilter::default(), None).await.unwrap()
    }

    /// Everything that is due, with a runner of its own.
    pub async fn work(&self, meet: Option<Arc<Meet>>) {
        let mut registry = background::registry(&self.app.config);
        if let Some(meet) = meet {
            registry = registry.with_faults(Arc::new(move |point, step| meet(point, step)));
        }
        let ids = Arc::new(SystemIds);
        let store = self.app.store.clone();
        let mut runner = Runner::new(self.app.clone(), registry, store, self.clock.clone(), ids, Options::default());
        runner.run_until_idle().await.unwrap();
    }

    /// Lets time pass until the operation has ended and its job too.
    pub async fn finish(&self, id: &OperationId) -> Operation {
        self.finish_with(id, None).await
    }

    /// As [`finish`](Self::finish), with accidents.
    pub async fn finish_with(&self, id: &OperationId, meet: Option<Arc<Meet>>) -> Operation {
        for _ in 0..400 {
            self.work(meet.clone()).await;
            let mut tx = self.app.store.read().await.unwrap();
            let found = reeve_store::operation::get(&mut tx, id).await.unwrap().unwrap();
            let job = reeve_store::job::get(&mut tx, found.job_id.as_ref().unwrap()).await.unwrap().unwrap();
            if found.status.is_final() && job.state.is_final() {
                return found;
            }
            drop(tx);
            // Past a lease, past most pauses.
            self.clock.advance_ms(61_000);
        }
        panic!("{:?}", operation::detail(&self.app, &self.admin, id).await);
    }

    /// Machines at UpCloud that we ordered: hostname and state.
    pub async fn machines(&self) -> Vec<(String, String)> {
        let cloud = self.app.clouds.factory().open("upcloud", None).unwrap();
        let found: Vec<_> = cloud.list(&LabelFilter::ours()).try_collect().await.unwrap();
        let mut machines: Vec<_> = found.into_iter().map(|s| (s.hostname, format!("{:?}", s.state))).collect();
        machines.sort();
        machines
    }

    /// Locks of operations that have ended, which there must not be.
    pub async fn stale_locks(&self) -> i64 {
        let sql = "SELECT count(*) FROM operation_locks l JOIN operations o ON o.id = l.operation_id
            WHERE o.finished_at IS NOT NULL";
        let mut tx = self.app.store.read().await.unwrap();
        tx.one(sql, &[]).await.unwrap().get().unwrap()
    }
}

/// An accident at the N-th moment (counted from 1) of everything that runs.
pub fn nth(n: usize, accident: fn() -> Accident) -> (Arc<Meet>, Arc<Mutex<usize>>) {
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    let meet = move |_: Point, _: usize| {
        let mut count = counted.lock().unwrap();
        *count += 1;
        (*count == n).then(accident)
    };
    (Arc::new(meet), count)
}
