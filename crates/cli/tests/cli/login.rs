//! Logins, contexts, renewal of tokens, and the server next door.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::fake::{Fake, User, data, empty, refuse};

fn tokens(n: u32, expires: &str) -> Value {
    json!({
        "access_token": format!("access-{n}"), "access_expires_at": expires, "refresh_token": format!("refresh-{n}"),
        "refresh_expires_at": "2026-02-01T00:00:00Z", "user": {"username": "ann"},
    })
}

const FRESH: &str = "2026-01-10T12:15:00Z";
const STALE: &str = "2026-01-10T12:00:05Z";

async fn server(expires: &'static str) -> Fake {
    let fake = Fake::start().await;
    fake.on("POST /api/auth/login", move |seen| {
        if seen.body["password"] == "right" {
            data(tokens(1, expires))
        } else {
            refuse(401, "unauthorized", "Unauthorized", Value::Null)
        }
    });
    fake.on("GET /api/me", |_| {
        data(json!({"id": "1", "kind": "user", "name": "ann", "role": "admin", "permissions": ["node.read"]}))
    });
    fake
}

#[tokio::test]
async fn a_login_is_asked_for_and_remembered() {
    let fake = server(FRESH).await;
    let mut user = User::new();
    user.answers = vec!["ann", "right"];
    let ran = user.run(&format!("login {} --name lab", fake.url)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr, format!("logged in to {} as ann (context lab)\n", fake.url));
    assert_eq!(fake.asked("POST /api/auth/login")[0].body, json!({"username": "ann", "password": "right"}));
    let ran = user.run("whoami").await;
    assert!(ran.stdout.contains("ROLE         admin"), "{}", ran.stdout);
    assert_eq!(fake.asked("GET /api/me")[0].header("authorization"), "Bearer access-1");
    let ran = user.run("context list").await;
    assert_eq!(
        ran.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
        ["*", "lab", &fake.url, "ann", "password", "platform"]
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(user.home().join(".config/reeve/contexts.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_wrong_password_is_no_expired_login() {
    let fake = server(FRESH).await;
    let ran = User::new().run(&format!("login {} --username ann --password wrong", fake.url)).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.starts_with("error: the server does not know this username and password (ann)\nnext:  try again"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_token_login_is_checked_first() {
    let fake = server(FRESH).await;
    let mut user = User::new();
    assert_eq!(user.run(&format!("login {} --token rv_x", fake.url)).await.code, 0);
    assert_eq!(fake.asked("GET /api/me")[0].header("authorization"), "Bearer rv_x");
    fake.on("GET /api/me", |_| refuse(401, "unauthorized", "Unauthorized", Value::Null));
    assert_eq!(User::new().run(&format!("login {} --token rv_bad", fake.url)).await.code, 1);
}

#[tokio::test]
async fn an_expiring_token_is_renewed_and_kept() {
    let fake = server(STALE).await;
    fake.on("POST /api/auth/refresh", |seen| {
        assert_eq!(seen.body["refresh_token"], "refresh-1");
        data(tokens(2, FRESH))
    });
    let mut user = User::new();
    user.run(&format!("login {} --username ann --password right", fake.url)).await;
    assert_eq!(user.run("whoami").await.code, 0);
    assert_eq!(user.run("whoami").await.code, 0);
    assert_eq!(fake.asked("POST /api/auth/refresh").len(), 1);
    let used: Vec<String> =
        fake.asked("GET /api/me").iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(used, ["Bearer access-2", "Bearer access-2"]);
}

#[tokio::test]
async fn a_token_that_the_server_no_longer_takes_is_renewed_once() {
    let fake = server(FRESH).await;
    fake.on("GET /api/me", |seen| match seen.header("authorization") {
        "Bearer access-2" => data(json!({"name": "ann"})),
        _ => refuse(401, "unauthorized", "Unauthorized", Value::Null),
    });
    fake.on("POST /api/auth/refresh", |_| data(tokens(2, FRESH)));
    let mut user = User::new();
    user.run(&format!("login {} --username ann --password right", fake.url)).await;
    assert_eq!(user.run("whoami").await.code, 0);
}

#[tokio::test]
async fn an_expired_login_says_log_in_again() {
    let fake = server(STALE).await;
    fake.on("POST /api/auth/refresh", |_| refuse(401, "unauthorized", "Unauthorized", Value::Null));
    let mut user = User::new();
    user.run(&format!("login {} --username ann --password right", fake.url)).await;
    let ran = user.run("whoami").await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr.replace(&fake.url, "URL"),
        "error: the login has expired (401 unauthorized)\nnext:  your credentials are wrong or have expired; log in again: reeve login URL\n"
    );
}

#[tokio::test]
async fn commands_at_once_spend_a_refresh_token_once() {
    let fake = server(STALE).await;
    let mut spent = 0;
    fake.on("POST /api/auth/refresh", move |seen| {
        spent += 1;
        // As the server does: a refresh token that comes twice ends the login.
        match (spent, seen.body["refresh_token"].as_str()) {
            (1, Some("refresh-1")) => data(tokens(2, FRESH)),
            _ => refuse(401, "unauthorized", "Unauthorized", Value::Null),
        }
    });
    let mut user = User::new();
    user.run(&format!("login {} --username ann --password right", fake.url)).await;
    let vars = Arc::new(user.vars.clone());
    let mut commands = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let vars = Arc::clone(&vars);
        commands.spawn(async move {
            let mut racer = User::new();
            racer.vars = (*vars).clone();
            racer.run("whoami").await
        });
    }
    for ran in commands.join_all().await {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(fake.asked("POST /api/auth/refresh").len(), 1);
}

#[tokio::test]
async fn contexts_are_chosen_shown_and_deleted() {
    let (one, two) = (server(FRESH).await, server(FRESH).await);
    let mut user = User::new();
    user.run(&format!("login {} --name one --token a", one.url)).await;
    user.run(&format!("login {} --name two --token b", two.url)).await;
    assert!(user.run("context show").await.stdout.contains(&two.url));
    assert_eq!(user.run("context use one").await.code, 0);
    assert!(user.run("context show").await.stdout.contains(&one.url));
    assert!(user.run("context show --context two").await.stdout.contains(&two.url));
    user.vars.insert("REEVE_CONTEXT".into(), "two".into());
    assert!(user.run("context show").await.stdout.contains(&two.url));
    user.vars.remove("REEVE_CONTEXT");
    assert_eq!(user.run("context list -o name").await.stdout, "one\ntwo\n");
    assert_eq!(user.run("context delete one").await.code, 0);
    assert_eq!(user.run("context list -o name").await.stdout, "two\n");
    assert_eq!(user.run("context use one").await.code, 2);
    assert!(!user.run("context list -o json").await.stdout.contains("\"b\""), "secrets stay in the file");
}

#[tokio::test]
async fn logging_out_tells_the_server_and_forgets() {
    let fake = server(FRESH).await;
    fake.on("POST /api/auth/logout", |_| empty());
    let mut user = User::new();
    user.run(&format!("login {} --username ann --password right", fake.url)).await;
    assert_eq!(user.run("logout").await.code, 0);
    assert_eq!(fake.asked("POST /api/auth/logout")[0].body, json!({"refresh_token": "refresh-1"}));
    let file = std::fs::read_to_string(user.home().join(".config/reeve/contexts.json")).unwrap();
    assert!(!file.contains("refresh-1") && !file.contains("access-1"), "{file}");
}

#[tokio::test]
async fn a_server_in_a_readable_data_directory_needs_no_login() {
    let fake = server(FRESH).await;
    let mut user = User::new();
    let folder = user.home().join("reeve-data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("run.json"), json!({"pid": 1, "listeners": {"console": fake.url}}).to_string()).unwrap();
    std::fs::write(folder.join("credentials.json"), json!({"url": "http://old:1", "master_key": "master"}).to_string())
        .unwrap();
    assert_eq!(user.run("whoami").await.code, 0);
    assert_eq!(fake.asked("GET /api/me")[0].header("authorization"), "Bearer master");
    assert!(user.run("context show").await.stdout.contains("reeve-data"));
    let elsewhere = server(FRESH).await;
    assert_eq!(user.run(&format!("login {} --token t", elsewhere.url)).await.code, 0);
    assert_eq!(user.run("whoami").await.code, 0);
    assert_eq!(elsewhere.asked("GET /api/me").len(), 2, "a context goes before the server next door");
    user.vars.insert("REEVE_DATA".into(), folder.display().to_string());
    assert_eq!(user.run("whoami").await.code, 0);
    assert_eq!(fake.asked("GET /api/me").len(), 2, "a data directory that was named goes before the context");
    // Its server has stopped: what was meant for it must not happen at the server of the context.
    std::fs::remove_file(folder.join("run.json")).unwrap();
    let ran = user.run("whoami").await;
    assert_eq!((ran.code, elsewhere.asked("GET /api/me").len()), (3, 2), "{ran:?}");
    assert!(ran.stderr.contains("reeve up --data"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_environment_goes_before_the_context_and_options_before_both() {
    let fake = server(FRESH).await;
    let mut user = User::new();
    user.run(&format!("login {} --token of-context", fake.url)).await;
    user.vars.insert("REEVE_TOKEN".into(), "of-environment".into());
    user.run("whoami").await;
    user.run("whoami --token of-option").await;
    let used: Vec<String> =
        fake.asked("GET /api/me").iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(used, ["Bearer of-context", "Bearer of-environment", "Bearer of-option"]);
}
