//! How operations end: cancelled for good, one at a time, found by the settler, dropped after their time.

use std::sync::Arc;
use std::time::Duration;

use reeve_domain::config::Config;
use reeve_domain::host::{self, Power, power};
use reeve_domain::operation;
use reeve_testkit::db::{TestDb, on_both};
use reeve_testkit::remote::FakeMachines;
use reeve_types::ErrorKind;
use reeve_types::host::HostState;
use reeve_types::operation::{OperationFilter, OperationStatus};

use super::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_made_and_deleted() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = site.create(site.order("Web-01")).await.unwrap();
        assert_eq!((made.status, made.result.clone(), made.error.clone()), (OperationStatus::Pending, None, None));
        let [host] = &site.hosts().await[..] else { panic!("one host") };
        assert_eq!((host.state, host.address.clone(), host.hostname.as_str()), (HostState::Creating, None, "web-01"));

        let done = site.finish(&made.id).await;
        let result: serde_json::Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
        let [host] = &site.hosts().await[..] else { panic!("one host") };
        assert_eq!(host.state, HostState::Running);
        assert_eq!(result["server_id"], host.handle.as_str());
        assert_eq!(result["ip_address"].as_str(), host.address.as_deref());
        assert!(host.handle.starts_with("srv-") && host.handle.len() == 10, "{}", host.handle);
        let log = operation::log(&site.app, &site.admin, &made.id, 0, 100_000).await.unwrap();
        assert!(log.text.contains("ordering web-01 (1xCPU-1GB) in de-fra1 from upcloud"), "{}", log.text);
        let detail = operation::detail(&site.app, &site.admin, &made.id).await.unwrap();
        let steps: Vec<&str> = detail.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!((steps, detail.progress()), (vec!["begin", "order", "boot", "enroll", "finish"], (5, 5)));

        let error = site.create(site.order("web-01")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);

        let made = site.delete(host, false).await.unwrap();
        let busy = site.delete(host, true).await.unwrap_err();
        assert_eq!((busy.kind, busy.reason), (ErrorKind::Conflict, "busy"));
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        assert_eq!((site.clouds.upcloud.servers(), site.clouds.upcloud.disks()), (0, 0));
        assert_eq!(site.delete(host, false).await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(site.stale_locks().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_comes_from_the_workspace_or_is_named() {
    let site = Site::new(reeve_testkit::db::TestDb::sqlite().await).await;
    site.workspace("bare", Default::default()).await.unwrap();
    let order = host::Create { workspace: "bare".into(), ..site.order("a") };
    let error = site.create(order.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.details.keys().collect::<Vec<_>>(), ["plan", "provider", "zone"]);
    for (field, change) in [
        ("provider", host::Create { provider: Some("nimbus".into()), ..site.order("a") }),
        ("plan", host::Create { plan: Some("huge".into()), ..site.order("a") }),
        ("zone", host::Create { zone: Some("mars".into()), ..site.order("a") }),
        ("image", host::Create { image: Some("dos".into()), ..site.order("a") }),
        ("hostname", site.order("-a")),
        ("workspace", host::Create { workspace: "none".into(), ..site.order("a") }),
    ] {
        // Words of one provider mean nothing to another.
        let whole = host::Create {
            plan: change.plan.clone().or(Some("1xCPU-1GB".into())),
            zone: change.zone.clone().or(Some("de-fra1".into())),
            ..change
        };
        let error = site.create(whole).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{field}: {error}");
        assert!(error.details.contains_key(field), "{field}: {error}");
    }
    assert!(site.hosts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_never_lost_to_a_late_completion() {
    on_both(|db| async {
        let site = Site::new(db).await;
        // Before it began: nothing is left of it at once.
        let made = site.create(site.order("a")).await.unwrap();
        let cancelled = operation::cancel(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!(cancelled.status, OperationStatus::Cancelled);
        assert!(site.hosts().await.is_empty());
        let again = operation::cancel(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!(again.updated_at, cancelled.updated_at);

        // While it runs: cancelled at once, and the machine goes.
        let made = site.create(site.order("b")).await.unwrap();
        site.work(None).await;
        assert_eq!(site.clouds.upcloud.servers(), 1);
        let cancelled = operation::cancel(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!((cancelled.status, cancelled.result, cancelled.error), (OperationStatus::Cancelled, None, None));
        let ended = site.finish(&made.id).await;
        assert_eq!((ended.status, ended.result, ended.error), (OperationStatus::Cancelled, None, None));
        assert_eq!((site.clouds.upcloud.servers(), site.clouds.upcloud.disks()), (0, 0));
        assert!(site.hosts().await.is_empty());
        assert_eq!(site.stale_locks().await, 0);

        // After its end: too late.
        let host = site.host("c").await;
        let done = operation::lines(&site.app, &site.admin, &OperationFilter::default()).await.unwrap().pop().unwrap();
        let late = operation::cancel(&site.app, &site.admin, &done.id).await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::Conflict);
        assert_eq!(site.hosts().await, [host]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_deletion_leaves_the_machine_running() {
    let site = Site::new(reeve_testkit::db::TestDb::sqlite().await).await;
    let host = site.host("a").await;
    let made = site.delete(&host, false).await.unwrap();
    site.work(None).await;
    operation::cancel(&site.app, &site.admin, &made.id).await.unwrap();
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Cancelled);
    assert_eq!(site.machines().await, [("a".to_owned(), "Running".to_owned())]);
    assert_eq!(site.hosts().await[0].state, HostState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_switched() {
    let short = |config: &mut Config| config.provisioning.boot_patience = Duration::from_secs(900);
    let site = Site::configured(TestDb::sqlite().await, short).await;
    let machines = FakeMachines::default();
    machines.boots_by(site.clouds.restarts());
    site.app.set_remote(Arc::new(machines.clone()));
    let host = site.host("a").await;
    for (switch, state) in
        [(Power::Stop, HostState::Stopped), (Power::Start, HostState::Running), (Power::Reboot, HostState::Running)]
    {
        let made = power(&site.app, &site.admin, &host.handle, switch).await.unwrap();
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{switch:?} {:?}", done.error);
        assert_eq!(site.hosts().await[0].state, state, "{switch:?}");
    }

    // "Running" alone does not count: it was that before.
    machines.boots_by(|| 0);
    let made = power(&site.app, &site.admin, &host.handle, Power::Reboot).await.unwrap();
    for _ in 0..3 {
        site.work(None).await;
        site.clock.advance_ms(61_000);
    }
    let detail = operation::detail(&site.app, &site.admin, &made.id).await.unwrap();
    assert_eq!(detail.operation.status, OperationStatus::Running);
    assert!(detail.waiting.unwrap().contains("has not gone down yet"));
    machines.boots_by(|| 1);
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Completed);

    // Where nothing can be asked, and the provider shows nothing, nobody says that it was restarted.
    machines.silence(host.address.as_deref().unwrap());
    let made = power(&site.app, &site.admin, &host.handle, Power::Reboot).await.unwrap();
    let done = site.finish(&made.id).await;
    assert_eq!(done.status, OperationStatus::Failed);
    assert!(done.error.unwrap().contains("nothing shows that the machine went down"));

    site.clouds.upcloud.switch(|s| s.obedient = false);
    let made = power(&site.app, &site.admin, &host.handle, Power::Stop).await.unwrap();
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Completed, "the plug is pulled");
    let error = power(&site.app, &site.admin, &host.handle, Power::Reboot).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_cancelled_by_hand_is_settled() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = site.create(site.order("a")).await.unwrap();
        let job = made.job_id.clone().unwrap();
        reeve_domain::job::cancel(&site.app, &site.admin, &job).await.unwrap();
        operation::settle(&site.app).await.unwrap();
        let settled = operation::get(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!(settled.status, OperationStatus::Cancelled);
        assert!(site.hosts().await.is_empty());
        assert_eq!(site.stale_locks().await, 0);
        site.create(site.order("a")).await.expect("the name is free again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_as_another_operation() {
    let site = Site::new(reeve_testkit::db::TestDb::sqlite().await).await;
    site.clouds.upcloud.switch(|s| s.credit = false);
    let made = site.create(site.order("a")).await.unwrap();
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Failed);
    site.clouds.upcloud.switch(|s| s.credit = true);
    let again = operation::retry(&site.app, &site.admin, &made.id).await.unwrap();
    assert_eq!(again.retry_of, Some(made.id.clone()));
    assert_eq!(site.finish(&again.id).await.status, OperationStatus::Completed);
    let error = operation::retry(&site.app, &site.admin, &again.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    let before = operation::get(&site.app, &site.admin, &made.id).await.unwrap();
    assert_eq!(before.status, OperationStatus::Failed, "what is final stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_dropped_after_their_time() {
    on_both(|db| async {
        let site = Site::new(db).await;
        site.host("a").await;
        site.clock.advance_ms(29 * 24 * 3600 * 1000);
        operation::prune(&site.app).await.unwrap();
        let all = OperationFilter::default();
        assert_eq!(operation::lines(&site.app, &site.admin, &all).await.unwrap().len(), 1);
        site.clock.advance_ms(2 * 24 * 3600 * 1000);
        operation::prune(&site.app).await.unwrap();
        assert!(operation::lines(&site.app, &site.admin, &all).await.unwrap().is_empty());
        assert_eq!(site.hosts().await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_born_as_a_node() {
    on_both(|db| async {
        let site = Site::configured(db, |config| {
            config.default_cluster = Some("main".into());
            config.provisioning.agent_url = Some("https://example.org/reeve-agent".into());
        })
        .await;
        let main = reeve_domain::cluster::Create { name: "main".into(), ipv4_range: None, node_limit: None };
        reeve_domain::cluster::create(&site.app, &site.admin, main).await.unwrap();
        let made = site.create(host::Create { enroll: true, ..site.order("a") }).await.unwrap();
        for _ in 0..5 {
            site.work(None).await;
            site.clock.advance_ms(61_000);
        }
        let still = operation::get(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!(still.status, OperationStatus::Running, "it waits for the agent");
        let script = site.clouds.upcloud.user_data("a").unwrap();
        assert!(script.starts_with("#!/bin/sh\n"), "{script}");
        let key = script.lines().find_map(|line| line.strip_prefix("KEY='")).unwrap().trim_end_matches('\'').to_owned();
        assert!(!still.request.contains(&key), "the key is in no request");

        let node = reeve_types::NodeId("01900000-0000-7000-8000-00000000beef".into());
        let enrollment = reeve_domain::agent::Enrollment {
            key,
            node_id: node.clone(),
            id_type: reeve_types::node::NodeIdType::Random,
            public_key: vec![7; 32],
            machine: crate::world::machine("1.0.0"),
        };
        reeve_domain::agent::enroll(&site.app, enrollment).await.unwrap().unwrap();
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        let host = site.hosts().await.remove(0);
        assert_eq!(host.node_id, Some(node.clone()));

        let made = site.delete(&host, true).await.unwrap();
        assert_eq!(site.finish(&made.id).await.status, OperationStatus::Completed);
        let gone = reeve_domain::node::get(&site.app, &site.admin, &node).await.unwrap_err();
        assert_eq!(gone.kind, ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_born_enrolled_hears_why() {
    let site = Site::new(reeve_testkit::db::TestDb::sqlite().await).await;
    let error = site.create(host::Create { enroll: true, ..site.order("a") }).await.unwrap_err();
    assert!(error.details["enroll"][0].contains("agent_download_url"), "{error}");
    let adopt = host::create::Adopt { address: "192.0.2.1".into(), ..Default::default() };
    let order = host::Create { enroll: true, provider: Some("ssh".into()), adopt: Some(adopt), ..site.order("a") };
    let error = site.create(order).await.unwrap_err();
    assert!(error.details["enroll"][0].contains("reeve agent --enroll"), "{error}");
}
