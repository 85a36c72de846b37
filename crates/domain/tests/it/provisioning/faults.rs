//! The sagas of hosts under every fault test: no orphan, no double, no row that says otherwise.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::host::create_saga::{CreateHost, Making};
use reeve_domain::host::delete_saga::{DeleteHost, Removing};
use reeve_jobs::Saga;
use reeve_simulators::Trouble;
use reeve_store::{Store, args};
use reeve_testkit::db::TestDb;
use reeve_testkit::saga::{World, survives_everything};
use reeve_types::ManualClock;
use reeve_types::host::HostState;
use reeve_types::operation::{Operation, OperationStatus};

use super::Site;

/// A site with one operation whose job the harness plays in its place.
struct Played<S: Saga<App>> {
    site: Site,
    state: S::State,
}

impl<S: Saga<App>> Played<S> {
    async fn of(site: Site, operation: Operation) -> Self {
        let mut tx = site.app.store.begin().await.unwrap();
        let id = operation.job_id.unwrap();
        let job = reeve_store::job::get(&mut tx, &id).await.unwrap().unwrap();
        tx.execute("DELETE FROM jobs WHERE id = $1", args![&id]).await.unwrap();
        tx.commit().await.unwrap();
        Self { site, state: serde_json::from_str(&job.payload).unwrap() }
    }
}

struct Created(Played<CreateHost>);

async fn creation() -> Created {
    let site = Site::new(TestDb::sqlite().await).await;
    let operation = site.create(site.order("web-01")).await.unwrap();
    Created(Played::of(site, operation).await)
}

impl World for Created {
    type Ctx = App;
    type Saga = CreateHost;
    /// Machines, disks, hosts that are more than a wish, forgotten locks.
    type Seen = (Vec<(String, String)>, usize, Vec<(String, HostState, bool)>, i64);

    fn store(&self) -> &Store {
        &self.0.site.app.store
    }
    fn ctx(&self) -> Arc<App> {
        self.0.site.app.clone()
    }
    fn first_state(&self) -> Making {
        self.0.state.clone()
    }
    async fn seen(&self) -> Self::Seen {
        let site = &self.0.site;
        let hosts = site.hosts().await.into_iter();
        let real = hosts.filter(|host| host.state != HostState::Creating || host.cloud_ref.is_some());
        let hosts = real.map(|host| (host.hostname, host.state, host.address.is_some())).collect();
        (site.machines().await, site.clouds.upcloud.disks(), hosts, site.stale_locks().await)
    }
    fn clock(&self) -> Arc<ManualClock> {
        self.0.site.clock.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_host_survives_everything() {
    survives_everything(creation).await;
}

struct Deleted(Played<DeleteHost>);

async fn deletion() -> Deleted {
    let site = Site::new(TestDb::sqlite().await).await;
    let host = site.host("web-01").await;
    let operation = site.delete(&host, false).await.unwrap();
    Deleted(Played::of(site, operation).await)
}

impl World for Deleted {
    type Ctx = App;
    type Saga = DeleteHost;
    /// Whether the row says what the vendor says (a machine that is gone cannot be brought back, so either will do), disks
    /// without a machine, forgotten locks.
    type Seen = (bool, bool, i64);

    fn store(&self) -> &Store {
        &self.0.site.app.store
    }
    fn ctx(&self) -> Arc<App> {
        self.0.site.app.clone()
    }
    fn first_state(&self) -> Removing {
        self.0.state.clone()
    }
    async fn seen(&self) -> Self::Seen {
        let site = &self.0.site;
        let (machines, hosts) = (site.machines().await, site.hosts().await);
        let agree = match (machines.as_slice(), hosts.as_slice()) {
            ([], []) => true,
            ([(_, machine)], [host]) => machine == "Running" && host.state == HostState::Running,
            _ => false,
        };
        (agree, site.clouds.upcloud.disks() == machines.len(), site.stale_locks().await)
    }
    fn clock(&self) -> Arc<ManualClock> {
        self.0.site.clock.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_host_survives_everything() {
    survives_everything(deletion).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_makes_one_machine() {
    for trouble in [Trouble::DropAfter, Trouble::DropBefore, Trouble::AnswerAfter(b"rubbish".to_vec())] {
        let site = Site::new(TestDb::sqlite().await).await;
        site.clouds.upcloud.front.trouble("POST /1.3/server ", 1, trouble.clone());
        let made = site.create(site.order("web-01")).await.unwrap();
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{trouble:?} {:?}", done.error);
        assert_eq!(site.machines().await, [("web-01".to_owned(), "Running".to_owned())], "{trouble:?}");
        assert_eq!(site.clouds.upcloud.disks(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_that_shows_late_is_deleted() {
    let site = Site::new(TestDb::sqlite().await).await;
    // Lists that lag for longer than they should: the second order does not see the first.
    site.clouds.upcloud.switch(|s| s.lists_lag_ms = 1_000_000_000);
    site.clouds.upcloud.front.trouble("POST /1.3/server ", 1, Trouble::DropAfter);
    let made = site.create(site.order("web-01")).await.unwrap();
    site.work(None).await;
    site.clock.advance_ms(61_000);
    site.work(None).await;
    assert_eq!(site.clouds.upcloud.servers(), 2);
    site.clouds.upcloud.switch(|s| s.lists_lag_ms = 0);
    let done = site.finish(&made.id).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    let running = site.machines().await;
    assert_eq!(running, [("web-01".to_owned(), "Running".to_owned())]);
    assert_eq!((site.clouds.upcloud.disks(), site.hosts().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_vendor_are_ridden_out_or_undone() {
    let site = Site::new(TestDb::sqlite().await).await;
    let broken = || Trouble::Answer { status: 502, body: "<html>Bad Gateway</html>".to_owned(), headers: Vec::new() };
    site.clouds.upcloud.front.trouble("GET /1.3/server", 4, broken());
    let made = site.create(site.order("web-01")).await.unwrap();
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Completed);

    site.clouds.upcloud.switch(|s| s.credit = false);
    let made = site.create(site.order("web-02")).await.unwrap();
    let failed = site.finish(&made.id).await;
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(failed.error.as_deref().unwrap().starts_with("order: "), "{:?}", failed.error);
    assert_eq!(failed.result, None);
    let names: Vec<String> = site.hosts().await.into_iter().map(|host| host.hostname).collect();
    assert_eq!((names, site.stale_locks().await), (vec!["web-01".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_never_comes_up_is_taken_back() {
    let site = Site::new(TestDb::sqlite().await).await;
    // Nothing moves in the simulator.
    site.clouds.upcloud.time.advance_per_call_ms(0);
    let made = site.create(site.order("web-01")).await.unwrap();
    site.clock.advance_ms(1_000);
    site.work(None).await;
    assert_eq!(site.clouds.upcloud.servers(), 1);
    site.clock.advance_ms(25 * 3600 * 1000);
    site.work(None).await;
    site.clouds.upcloud.time.advance_per_call_ms(30_000);
    let failed = site.finish(&made.id).await;
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(failed.error.as_deref().unwrap().contains("after 1440 minutes"), "{:?}", failed.error);
    assert_eq!((site.clouds.upcloud.servers(), site.clouds.upcloud.disks()), (0, 0));
    assert!(site.hosts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forced_deletion_could_not_reach_is_named() {
    let site = Site::new(TestDb::sqlite().await).await;
    let host = site.host("web-01").await;
    site.clouds.upcloud.front.cut_off(true);
    let made = site.delete(&host, true).await.unwrap();
    let done = site.finish(&made.id).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    let result: serde_json::Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
    assert_eq!(result["storage_removed"], false);
    assert!(
        result["warnings"][0].as_str().unwrap().starts_with("web-01 may still exist with its provider"),
        "{result}"
    );
    assert!(site.hosts().await.is_empty());
    site.clouds.upcloud.front.cut_off(false);
    assert_eq!(site.clouds.upcloud.servers(), 1);
}
