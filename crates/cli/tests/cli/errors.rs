//! What goes wrong is said in two lines: what happened, and what to do next.

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, User, refuse};

const NODES: &str = "GET /edge/api/v1/nodes";

async fn failing(reply: fn() -> Reply) -> crate::fake::Ran {
    let fake = Fake::start().await;
    fake.on(NODES, move |_| reply());
    let mut ran = User::of(&fake).run("node list").await;
    ran.stderr = ran.stderr.replace(&fake.url, "URL");
    ran
}

#[tokio::test]
async fn a_wrong_token_says_how_to_log_in() {
    let ran = failing(|| refuse(401, "unauthorized", "Unauthorized", Value::Null)).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(
        ran.stderr,
        "error: Unauthorized (401 unauthorized)\nnext:  your credentials are wrong or have expired; log in again: reeve login URL\n"
    );
}

#[tokio::test]
async fn no_token_says_log_in_first() {
    let fake = Fake::start().await;
    fake.on(NODES, |_| refuse(401, "unauthorized", "Unauthorized", Value::Null));
    let mut user = User::of(&fake);
    user.vars.remove("REEVE_TOKEN");
    let ran = user.run("node list").await;
    assert_eq!(
        ran.stderr.replace(&fake.url, "URL"),
        "error: not logged in to URL\nnext:  log in first: reeve login URL\n"
    );
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let ran = failing(|| refuse(403, "forbidden", "Forbidden", json!({"permission": "node.read"}))).await;
    assert!(
        ran.stderr
            .starts_with("error: not allowed: GET /edge/api/v1/nodes needs the permission node.read\nnext:  ask an"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_missing_right_may_also_stand_in_a_header() {
    let ran = failing(|| {
        let mut reply = refuse(403, "forbidden", "Forbidden", Value::Null);
        reply.headers.push(("x-required-permission", "edge.nodes.read".to_owned()));
        reply
    })
    .await;
    assert!(ran.stderr.contains("needs the permission edge.nodes.read\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn bad_fields_are_listed() {
    let ran = failing(|| refuse(422, "validation_failed", "Validation failed", json!({"name": ["is reserved"]}))).await;
    assert!(
        ran.stderr.starts_with("error: Validation failed: name: is reserved (422 validation_failed)\nnext:  "),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn conflicts_give_the_reason() {
    let ran = failing(|| {
        refuse(409, "conflict", "cannot delete cluster with 2 node(s) - remove all nodes first", Value::Null)
    })
    .await;
    assert!(
        ran.stderr.starts_with("error: cannot delete cluster with 2 node(s) - remove all nodes first"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_broken_server_gives_the_request_id() {
    let ran = failing(|| refuse(500, "internal_server_error", "Internal Server Error", Value::Null)).await;
    assert!(
        ran.code == 1 && ran.stderr.contains("next:  look for request req-9 in the server's log"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn an_answer_that_is_not_ours_points_to_the_url() {
    let html = || Reply { status: 200, headers: vec![("content-type", "text/html".into())], body: "<html>".into() };
    let ran = failing(html).await;
    assert!(
        ran.stderr.contains("gave an answer that is not Reeve's\nnext:  give the URL of the console listener"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn nobody_listening_is_exit_code_3() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = User::new().run(&format!("node list --url {url} --token x")).await;
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains(": connection refused\nnext:  is `reeve up` running there?"), "{}", ran.stderr);
}

#[tokio::test]
async fn no_server_at_all_says_how_to_get_one() {
    let ran = User::new().run("node list").await;
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.stderr,
        "error: not logged in to any server\nnext:  log in with `reeve login http://127.0.0.1:7400`, or start a server here with `reeve up`\n"
    );
}

#[tokio::test]
async fn wrong_command_lines_are_exit_code_2() {
    let fake = Fake::start().await;
    for line in [
        "run uptime",
        "run",
        "node list --frob",
        "node label n x",
        "run x --all --batch 0",
        "run x --all --timeout soon",
        "key update k",
        "context use nope",
        "node list --url ftp://x",
    ] {
        let ran = User::of(&fake).run(line).await;
        assert_eq!(ran.code, 2, "{line}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{line}");
    }
    let ran = User::of(&fake).run("run uptime").await;
    assert_eq!(
        ran.stderr,
        "error: no target: on which nodes?\nnext:  add --all, -l SELECTOR, --cluster NAME or --node NAME\n"
    );
}

#[tokio::test]
async fn an_unknown_node_points_to_the_list() {
    let fake = Fake::start().await;
    fake.on(NODES, |_| crate::fake::page(Vec::new(), 0, false));
    let ran = User::of(&fake).run("node show nope").await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (1, "error: no node is called 'nope'\nnext:  `reeve node list` shows which there are\n")
    );
}

#[tokio::test]
async fn a_lost_answer_to_a_post_is_asked_for_again_with_the_same_key() {
    let fake = Fake::start().await;
    let mut first = true;
    fake.on("POST /edge/api/v1/clusters", move |_| {
        if std::mem::take(&mut first) {
            return Reply { status: 429, headers: vec![("retry-after", "0".into())], body: "".into() };
        }
        crate::fake::data(json!({"name": "c", "ipv4_range": "100.64.0.0/24"}))
    });
    let ran = User::of(&fake).run("cluster create c").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let keys: Vec<String> =
        fake.asked("POST /edge/api/v1/clusters").iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].len() == 36, "{keys:?}");
}
