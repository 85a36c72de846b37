//! Every exchange of the provisioning API, played over HTTP against a whole server on both databases.

use std::path::Path;

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Coverage, Keys, Player, load_directory};

use crate::base;

/// Answers that nothing here brings about: nothing breaks, and limits are off. What nobody with no key and with the wrong
/// one hears is asked of every operation in `gates`.
const NOT_PLAYED: [u16; 5] = [401, 403, 429, 500, 503];

/// Documented for the sake of a reader, but the same for every operation: 404 is what a wrong method gets, 409 what a
/// request gets whose `Idempotency-Key` is being worked on, 400 what a broken body or a wrong parameter gets (`gates`).
const THE_SAME_EVERYWHERE: [&str; 3] = [" 400", " 404", " 409"];

/// Of those the ones that mean something for the operation, and are played.
const ESSENTIAL: &[&str] = &[
    "auth.login 400",
    "auth.refresh 400",
    "servers.create 400",
    "servers.create 409",
    "servers.delete 400",
    "servers.delete 404",
    "servers.delete 409",
    "servers.status 404",
    "taskservs.create 400",
    "taskservs.create 409",
    "taskservs.catalogue 400",
    "taskservs.catalogue 409",
    "taskservs.delete 400",
    "taskservs.delete 404",
    "operations.get 404",
    "operations.cancel 404",
    "operations.cancel 409",
    "workflows.submit 400",
    "workflows.submit 409",
    "workflows.get 404",
    "workflows.cancel 404",
    "workflows.cancel 409",
    "workspaces.create 400",
    "workspaces.create 409",
    "plans.apply 409",
];

/// Needs a machine that lets somebody in; the simulated ones do not.
const ON_REAL_MACHINES: &str = "servers.ssh 200";

/// Folders of workspaces that are there before anybody asks, with taskservs of their own; workspaces take them over.
const OWN_TASKSERVS: [(&str, &str, &str); 4] = [
    ("layered", "redis/taskserv.yaml", "about: Redis as this team has it.\nparameters: {max_memory: {default: 1gb}}\n"),
    (
        "layered",
        "greeter/taskserv.yaml",
        "title: Greeter\ncategory: misc\nabout: Says hello.\nversions: [packaged]\nhealth: It is there.\n\
         depends: [{on: [os]}]\nparameters: {greeting: {type: string, default: hello, about: What it says.}}\n\
         files: [{path: /etc/greeter/greeting.yaml, template: greeting.yaml}]\n",
    ),
    ("layered", "greeter/greeting.yaml", "say: {{ params.greeting }}\n"),
    ("broken", "redis/taskserv.yaml", "parameters: {port: {type: prot}}\n"),
];

fn own_taskservs(root: &Path) {
    for (workspace, file, text) in OWN_TASKSERVS {
        let folder = root.join(workspace);
        std::fs::create_dir_all(folder.join("config")).unwrap();
        std::fs::write(folder.join("config/provisioning.yaml"), "version: 1\n").unwrap();
        let path = folder.join("extensions/taskservs").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/provisioning/exchanges");
    let mut coverage = Coverage::default();
    let (mut failures, mut silent) = (Vec::new(), Vec::new());
    let contract = fresh().await.provisioning_contract.clone();
    for script in &load_directory(&folder).unwrap() {
        let mut app = fresh().await;
        own_taskservs(&app.clouds.root());
        // The edge API's key opens nothing here.
        let keys = Keys { api: app.keys.master.clone(), ..app.keys.clone() };
        let player = Player::new(&base(&app), keys, contract.clone());
        let report = player.play(script, &mut app).await.unwrap();
        eprintln!("{}: {} fitted\n{}", script.name, report.fitted, report.failures.join("\n"));
        failures.extend(report.failures);
        failures.extend(report.skipped.iter().map(|step| format!("{step}: skipped")));
        coverage.merge(&report.coverage);
        silent.extend(app.without_audit_entry(&report.changes).await);
    }
    assert!(failures.is_empty(), "{} exchanges did not fit:\n{}", failures.len(), failures.join("\n"));
    // A second cancel changes nothing.
    silent.retain(|operation| operation != "operations.cancel");
    assert!(silent.is_empty(), "changes without an audit entry: {silent:?}");
    let missing = coverage.missing(&contract, &NOT_PLAYED);
    let unplayed: Vec<&String> = missing
        .iter()
        .filter(|line| {
            let everywhere = THE_SAME_EVERYWHERE.iter().any(|end| line.ends_with(end));
            line.as_str() != ON_REAL_MACHINES && !everywhere || ESSENTIAL.contains(&line.as_str())
        })
        .collect();
    assert!(unplayed.is_empty(), "documented answers that no exchange shows: {unplayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_sqlite() {
    play(TestApp::sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_postgres() {
    play(TestApp::postgres).await;
}
