//! Every exchange of the provisioning API, played over HTTP against a whole server on both databases.

use std::path::Path;

use reeve_testkit::app::TestApp;
use reeve_testkit::exchange::{Keys, Player, Surface};

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

const PROVISIONING: Surface = Surface {
    folder: "provisioning",
    player: |app| {
        // The edge API's key opens nothing here.
        let keys = Keys { api: app.keys.master.clone(), ..app.keys.clone() };
        Player::new(&base(app), keys, app.provisioning_contract.clone())
    },
    gates: None,
    not_played: &NOT_PLAYED,
    // A second cancel changes nothing.
    may_change_nothing: &["operations.cancel"],
};

async fn play(fresh: impl AsyncFn() -> TestApp) {
    let prepared = async || {
        let app = fresh().await;
        own_taskservs(&app.clouds.root());
        app
    };
    let mut missing = PROVISIONING.play(prepared).await;
    missing.retain(|answer| {
        let everywhere = THE_SAME_EVERYWHERE.iter().any(|end| answer.ends_with(end));
        answer != ON_REAL_MACHINES && !everywhere || ESSENTIAL.contains(&answer.as_str())
    });
    assert!(missing.is_empty(), "documented answers that no exchange shows: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_sqlite() {
    play(TestApp::sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_on_postgres() {
    play(TestApp::postgres).await;
}
