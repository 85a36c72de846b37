//! Taskservs on machines that only remember: what is asked of them, what is undone, what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use reeve_domain::operation;
use reeve_domain::taskserv::{self, InstallTaskserv, RemoveTaskserv};
use reeve_jobs::fault::{Accident, Point};
use reeve_testkit::db::TestDb;
use reeve_testkit::remote::{FakeMachines, Software};
use reeve_testkit::saga::survives_everything;
use reeve_types::ErrorKind;
use reeve_types::operation::{Operation, OperationStatus};
use reeve_types::taskserv::TaskservState;
use serde_json::{Value, json};

use super::Site;
use super::played::Played;

/// A site with `count` hosts and their software.
async fn site(count: usize) -> (Site, FakeMachines) {
    let site = Site::new(TestDb::sqlite().await).await;
    let machines = FakeMachines::default();
    site.app.set_remote(Arc::new(machines.clone()));
    for n in 1..=count {
        site.host(&format!("web-{n}")).await;
    }
    (site, machines)
}

fn wish(name: &str, servers: &[&str], config: Value) -> Value {
    json!({"workspace": "w", "name": name, "servers": servers, "config": config, "check_mode": false})
}

async fn install(site: &Site, request: Value) -> Operation {
    let asked = taskserv::create(&site.app, &site.admin, request).await.unwrap();
    site.finish(&asked.id).await
}

async fn listed(site: &Site) -> Vec<(String, TaskservState, usize)> {
    let all = taskserv::list(&site.app, &site.admin, None).await.unwrap();
    all.into_iter().map(|placed| (placed.taskserv.name, placed.taskserv.state, placed.hosts.len())).collect()
}

fn words(software: &BTreeMap<String, Software>) -> Vec<String> {
    software
        .values()
        .map(|one| one.iter().map(|(name, phase)| format!("{name} {phase}")).collect::<Vec<_>>().join(", "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_comes_along_and_secrets_stay_out() {
    let (site, machines) = site(3).await;
    let done =
        install(&site, wish("redis", &["web-1", "web-2", "web-3"], json!({"password": "correct-horse-battery"}))).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    assert_eq!(words(&machines.software()), ["os start, redis start"; 3]);
    let running = TaskservState::Running;
    assert_eq!(listed(&site).await, [("os".into(), running, 3), ("redis".into(), running, 3)]);
    let result: Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&result["name"], &result["version"], &result["installed_along"][0]["name"]),
        (&json!("redis"), &json!("1.2.3"), &json!("os"))
    );
    for text in [done.request.as_str(), done.result.as_deref().unwrap_or_default()] {
        assert!(!text.contains("correct-horse"), "{text}");
    }
    let detail = operation::detail(&site.app, &site.admin, &done.id).await.unwrap();
    assert_eq!(detail.phases.len(), 2 * 3 * 9);
    let hosts = site.hosts().await;
    assert!(hosts.iter().all(|host| host.host_key.is_some()), "the first contact pins the key");
    assert_eq!(site.stale_locks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_on_one_machine_takes_everything_back() {
    let (site, machines) = site(3).await;
    let address = site.hosts().await[1].address.clone().unwrap();
    machines.fail(&address, "verify");
    let done = install(&site, wish("etcd", &["web-1", "web-2", "web-3"], json!({}))).await;
    assert_eq!(done.status, OperationStatus::Failed);
    let error = done.error.unwrap();
    assert!(error.contains("verify on web-") && error.contains("does not want to verify"), "{error}");
    assert_eq!(words(&machines.software()), Vec::<String>::new());
    assert_eq!(listed(&site).await, []);
    assert_eq!(site.stale_locks().await, 0);
    machines.mend();
    let again = operation::retry(&site.app, &site.admin, &done.id).await.unwrap();
    assert_eq!(site.finish(&again.id).await.status, OperationStatus::Completed);
    assert_eq!(words(&machines.software()), ["etcd start, os start"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_and_changes_nothing() {
    let (site, machines) = site(1).await;
    let address = site.hosts().await[0].address.clone().unwrap();
    machines.fail(&address, "preflight");
    let mut request = wish("redis", &["web-1"], json!({"dependencies": "install"}));
    request["check_mode"] = json!(true);
    let done = install(&site, request).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    let plan: Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
    assert_eq!(plan["summary"], "2 taskservs to install");
    assert!(plan["text"].as_str().unwrap().contains("redis does not want to preflight"), "{plan}");
    assert_eq!(words(&machines.software()), Vec::<String>::new());
    assert_eq!(listed(&site).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_cannot_be_are_refused_at_the_door() {
    let (site, _) = site(2).await;
    let refused = async |request: Value| {
        let error = taskserv::create(&site.app, &site.admin, request).await.unwrap_err();
        (error.kind, error.to_string())
    };
    let (kind, text) = refused(wish("etdc", &["web-1"], json!({}))).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("did you mean `etcd`?"), "{text}");
    assert_eq!(refused(wish("etcd", &["web-1", "web-2"], json!({}))).await.0, ErrorKind::Invalid);
    assert_eq!(refused(wish("etcd", &["nowhere"], json!({}))).await.0, ErrorKind::Invalid);
    assert_eq!(refused(wish("etcd", &["web-1"], json!({"dependencies": "refuse"}))).await.0, ErrorKind::Invalid);
    let asked = taskserv::create(&site.app, &site.admin, wish("etcd", &["web-1"], json!({}))).await.unwrap();
    let (kind, text) = refused(wish("redis", &["web-1"], json!({}))).await;
    assert_eq!(kind, ErrorKind::Conflict, "{text}");
    site.finish(&asked.id).await;
    assert_eq!(refused(wish("etcd", &["web-1"], json!({}))).await.0, ErrorKind::Conflict);
    let os = taskserv::list(&site.app, &site.admin, None).await.unwrap()[0].taskserv.handle.clone();
    let error = taskserv::delete(&site.app, &site.admin, json!({"taskserv": os})).await.unwrap_err();
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("etcd"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upgraded_asked_and_removed() {
    let (site, machines) = site(1).await;
    install(&site, wish("redis", &["web-1"], json!({"max_memory": "64mb"}))).await;
    let redis = async || taskserv::list(&site.app, &site.admin, None).await.unwrap().pop().unwrap();
    let handle = redis().await.taskserv.handle;
    let request = json!({"taskserv": handle, "config": {"max_memory": "1gb"}});
    let asked = taskserv::upgrade(&site.app, &site.admin, request).await.unwrap();
    let done = site.finish(&asked.id).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    assert!(redis().await.taskserv.config.contains("1gb"));
    let health = taskserv::health(&site.app, &site.admin, &handle).await.unwrap();
    assert_eq!(health["status"], "healthy", "{health}");
    let address = site.hosts().await[0].address.clone().unwrap();
    machines.fail(&address, "verify");
    let asked = taskserv::upgrade(&site.app, &site.admin, json!({"taskserv": handle, "config": {"max_memory": "2gb"}}))
        .await
        .unwrap();
    machines.mend();
    assert_eq!(site.finish(&asked.id).await.status, OperationStatus::Completed);
    let asked = taskserv::delete(&site.app, &site.admin, json!({"taskserv": handle})).await.unwrap();
    assert_eq!(site.finish(&asked.id).await.status, OperationStatus::Completed);
    assert_eq!(words(&machines.software()), ["os start"]);
    let missing = taskserv::get(&site.app, &site.admin, &handle).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_goes_back_to_what_was_there() {
    for phase in ["install", "configure", "start", "verify", "record"] {
        let (site, machines) = site(2).await;
        install(&site, wish("redis", &["web-1", "web-2"], json!({"max_memory": "64mb"}))).await;
        let redis = async || taskserv::list(&site.app, &site.admin, None).await.unwrap().pop().unwrap().taskserv;
        let before = redis().await;
        let address = site.hosts().await[1].address.clone().unwrap();
        machines.fail_once(&address, phase);
        let request = json!({"taskserv": before.handle, "config": {"max_memory": "1gb"}});
        let asked = taskserv::upgrade(&site.app, &site.admin, request).await.unwrap();
        let done = site.finish(&asked.id).await;
        assert_eq!(done.status, OperationStatus::Failed, "{phase}");
        assert!(done.error.unwrap().contains(&format!("does not want to {phase}")));
        let after = redis().await;
        assert_eq!(
            (after.state, &after.version, &after.config),
            (TaskservState::Running, &before.version, &before.config)
        );
        assert_eq!(after.secrets_sealed, before.secrets_sealed);
        // All machines went through it again, this time to what they had.
        for host in site.hosts().await {
            let ran = machines.ran(host.address.as_deref().unwrap(), "redis");
            assert_eq!(
                ran[ran.len() - 6..],
                ["upload", "install", "configure", "start", "verify", "record"],
                "{ran:?}"
            );
        }
        let detail = operation::detail(&site.app, &site.admin, &done.id).await.unwrap();
        let names: Vec<_> = detail.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert!(names.contains(&"web-2/redis/undo verify"), "{names:?}");
        assert_eq!(site.stale_locks().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_may_leave_what_it_made_and_one_that_cannot_go_back_says_so() {
    let (site, machines) = site(1).await;
    install(&site, wish("redis", &["web-1"], json!({}))).await;
    let redis = async || taskserv::list(&site.app, &site.admin, None).await.unwrap().pop().unwrap().taskserv;
    let handle = redis().await.handle;
    let address = site.hosts().await[0].address.clone().unwrap();
    machines.fail_once(&address, "verify");
    let request = json!({"taskserv": handle, "config": {"max_memory": "1gb"}, "preserve_on_failure": true});
    let asked = taskserv::upgrade(&site.app, &site.admin, request).await.unwrap();
    assert_eq!(site.finish(&asked.id).await.status, OperationStatus::Failed);
    assert_eq!(redis().await.state, TaskservState::Failed);
    assert_eq!(machines.ran(&address, "redis").last().unwrap(), "verify");

    machines.fail(&address, "start");
    let request = json!({"taskserv": handle, "config": {"max_memory": "2gb"}});
    let asked = taskserv::upgrade(&site.app, &site.admin, request).await.unwrap();
    for _ in 0..40 {
        site.work(None).await;
        site.clock.advance_ms(3_600_000);
    }
    operation::settle(&site.app).await.unwrap();
    let done = operation::detail(&site.app, &site.admin, &asked.id).await.unwrap().operation;
    assert_eq!(done.status, OperationStatus::Failed);
    assert!(done.error.as_deref().unwrap_or_default().contains("undo of install"), "{:?}", done.error);
    assert_eq!(redis().await.state, TaskservState::Failed);
    assert_eq!(site.stale_locks().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_called_off_goes_back_too() {
    let (site, machines) = site(1).await;
    install(&site, wish("redis", &["web-1"], json!({}))).await;
    let redis = async || taskserv::list(&site.app, &site.admin, None).await.unwrap().pop().unwrap().taskserv;
    let request = json!({"taskserv": redis().await.handle, "config": {"max_memory": "1gb"}});
    let asked = taskserv::upgrade(&site.app, &site.admin, request).await.unwrap();
    // When all is done on the machine.
    let cancel = |point: Point, step: usize| (point == Point::AfterRun && step == 1).then_some(Accident::Cancel);
    let done = site.finish_with(&asked.id, Some(Arc::new(cancel))).await;
    assert_eq!(done.status, OperationStatus::Cancelled);
    assert_eq!(redis().await.state, TaskservState::Running);
    assert!(!redis().await.config.contains("1gb"));
    let address = site.hosts().await[0].address.clone().unwrap();
    assert_eq!(machines.ran(&address, "redis").iter().filter(|phase| *phase == "record").count(), 3);
}

/// Writes a file of a workspace's own taskserv.
fn lay(site: &Site, file: &str, text: &str) {
    let path = site.clouds.root().join("w/extensions/taskservs").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workspace_lays_over_the_catalogue_counts_and_stays_with_what_was_installed() {
    let (site, machines) = site(1).await;
    let found = async |name: &str| {
        let all = taskserv::catalogue(&site.app, &site.admin, Some("w")).await.unwrap();
        all.into_iter().find(|one| one["name"] == name).map(|one| (one["layer"].clone(), one["parameters"].clone()))
    };
    assert_eq!(found("redis").await.unwrap().0, "core");
    lay(&site, "redis/taskserv.yaml", "parameters: {max_memory: {default: 1gb}}\n");
    let (layer, parameters) = found("redis").await.unwrap();
    assert_eq!((layer, &parameters["max_memory"]["default"]), (json!("workspace"), &json!("1gb")));
    let everybody = taskserv::catalogue(&site.app, &site.admin, None).await.unwrap();
    assert!(everybody.iter().all(|one| one["layer"] == "core"));

    // A plan rests on it.
    let mut request = wish("redis", &["web-1"], json!({}));
    request["check_mode"] = json!(true);
    let checked = install(&site, request).await;
    let plan: Value = serde_json::from_str(checked.result.as_deref().unwrap()).unwrap();
    let item =
        plan["items"].as_array().unwrap().iter().find(|item| item["definition"] == "the workspace's own").unwrap();
    assert_eq!(item["config"]["max_memory"], "1gb");
    lay(&site, "redis/taskserv.yaml", "parameters: {max_memory: {default: 2gb}}\n");
    let id = reeve_types::PlanId::from(plan["plan_id"].as_str().unwrap());
    let stale = reeve_domain::plan::apply(&site.app, &site.admin, &id).await.unwrap_err();
    assert!(stale.kind == ErrorKind::Conflict && stale.message.contains("has changed"), "{stale}");

    // What is installed is asked and removed by the definition it was installed with, also when that is gone.
    lay(
        &site,
        "own/taskserv.yaml",
        "title: Own\ncategory: misc\nabout: Ours.\nversions: [packaged]\nhealth: It is there.\ndepends: [{on: [os]}]\n",
    );
    assert_eq!(install(&site, wish("own", &["web-1"], json!({}))).await.status, OperationStatus::Completed);
    std::fs::remove_dir_all(site.clouds.root().join("w/extensions/taskservs/own")).unwrap();
    lay(&site, "redis/taskserv.yaml", "colour: red\n");
    let refused = taskserv::create(&site.app, &site.admin, wish("etcd", &["web-1"], json!({}))).await.unwrap_err();
    assert!(refused.message.contains("redis/taskserv.yaml: colour: unknown field"), "{refused}");
    let all = taskserv::list(&site.app, &site.admin, None).await.unwrap();
    let own = all.iter().find(|one| one.taskserv.name == "own").unwrap().taskserv.handle.clone();
    assert!(taskserv::get(&site.app, &site.admin, &own).await.unwrap().1);
    assert_eq!(taskserv::health(&site.app, &site.admin, &own).await.unwrap()["status"], "healthy");
    let os = all.iter().find(|one| one.taskserv.name == "os").unwrap().taskserv.handle.clone();
    let missed = taskserv::delete(&site.app, &site.admin, json!({"taskserv": os})).await.unwrap_err();
    assert!(missed.message.contains("own"), "{missed}");
    let asked = taskserv::delete(&site.app, &site.admin, json!({"taskserv": own})).await.unwrap();
    assert_eq!(site.finish(&asked.id).await.status, OperationStatus::Completed);
    assert_eq!(words(&machines.software()), ["os start"]);
}

/// Software, taskservs that are more than a wish, forgotten locks.
type Placed = (Vec<String>, Vec<(String, TaskservState, usize)>, i64);

async fn placed(site: &Site, machines: FakeMachines) -> Placed {
    let mut listed = listed(site).await;
    listed.retain(|(_, state, _)| *state != TaskservState::Pending);
    (words(&machines.software()), listed, site.stale_locks().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_survives_everything() {
    survives_everything(async || {
        let (site, machines) = site(2).await;
        let wish = wish("redis", &["web-1", "web-2"], json!({}));
        let asked = taskserv::create(&site.app, &site.admin, wish).await.unwrap();
        Played::<InstallTaskserv, _>::of(site, asked, move |site| placed(site, machines.clone()).boxed_local()).await
    })
    .await;
}

/// Whether the row says what the machine says (what is removed cannot be put back: then it says that it failed), locks.
async fn removed(site: &Site, machines: FakeMachines) -> (bool, i64) {
    let rows = listed(site).await;
    let there = words(&machines.software()).iter().any(|words| words.contains("redis"));
    let row = rows.iter().find(|(name, ..)| name == "redis").map(|(_, state, _)| *state);
    let agree = match row {
        None => !there,
        Some(TaskservState::Running) => there,
        Some(TaskservState::Failed) => true,
        Some(_) => false,
    };
    (agree, site.stale_locks().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_survives_everything() {
    survives_everything(async || {
        let (site, machines) = site(1).await;
        install(&site, wish("redis", &["web-1"], json!({}))).await;
        let handle = taskserv::list(&site.app, &site.admin, None).await.unwrap().pop().unwrap().taskserv.handle;
        let asked = taskserv::delete(&site.app, &site.admin, json!({"taskserv": handle})).await.unwrap();
        Played::<RemoveTaskserv, _>::of(site, asked, move |site| removed(site, machines.clone()).boxed_local()).await
    })
    .await;
}
