//! The sagas of hosts under every fault test: no orphan, no double, no row that says otherwise.

use futures::FutureExt;
use reeve_domain::host::create_saga::CreateHost;
use reeve_domain::host::delete_saga::DeleteHost;
use reeve_simulators::Trouble;
use reeve_testkit::db::TestDb;
use reeve_testkit::saga::survives_everything;
use reeve_types::host::HostState;
use reeve_types::operation::OperationStatus;

use super::Site;
use super::played::Played;

/// Machines, disks, hosts that are more than a wish, forgotten locks.
type Made = (Vec<(String, String)>, usize, Vec<(String, HostState, bool)>, i64);

async fn made(site: &Site) -> Made {
    let hosts = site.hosts().await.into_iter();
    let real = hosts.filter(|host| host.state != HostState::Creating || host.cloud_ref.is_some());
    let hosts = real.map(|host| (host.hostname, host.state, host.address.is_some())).collect();
    (site.machines().await, site.clouds.upcloud.disks(), hosts, site.stale_locks().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_host_survives_everything() {
    survives_everything(async || {
        let site = Site::new(TestDb::sqlite().await).await;
        let operation = site.create(site.order("web-01")).await.unwrap();
        Played::<CreateHost, _>::of(site, operation, |site| made(site).boxed_local()).await
    })
    .await;
}

/// Whether the row says what the vendor says (a machine that is gone cannot be brought back, so either will do), disks
/// without a machine, forgotten locks.
async fn gone(site: &Site) -> (bool, bool, i64) {
    let (machines, hosts) = (site.machines().await, site.hosts().await);
    let agree = match (machines.as_slice(), hosts.as_slice()) {
        ([], []) => true,
        ([(_, machine)], [host]) => machine == "Running" && host.state == HostState::Running,
        _ => false,
    };
    (agree, site.clouds.upcloud.disks() == machines.len(), site.stale_locks().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_host_survives_everything() {
    survives_everything(async || {
        let site = Site::new(TestDb::sqlite().await).await;
        let host = site.host("web-01").await;
        let operation = site.delete(&host, false).await.unwrap();
        Played::<DeleteHost, _>::of(site, operation, |site| gone(site).boxed_local()).await
    })
    .await;
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
