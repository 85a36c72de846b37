//! The files are sound, and the player tells fitting answers from others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use reeve_http_kit::Contract;
use serde_json::{Value, json};

use super::coverage::operation_of;
use super::matcher::Matcher;
use super::player::filled;
use super::{Coverage, Keys, NoHost, Player, Script, gates, load_directory};

fn compat() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../compat/edge")
}

fn contract() -> Arc<Contract> {
    Arc::new(Contract::parse(&std::fs::read_to_string(compat().join("openapi.yaml")).unwrap()).unwrap())
}

#[test]
fn every_step_of_the_edge_exchanges_is_documented_and_every_answer_is_asked_for() {
    let contract = contract();
    let mut scripts = load_directory(&compat().join("exchanges")).unwrap();
    scripts.push(gates(&contract));
    let mut planned = Coverage::default();
    for script in &scripts {
        for step in &script.steps {
            let Some(request) = &step.request else { continue };
            let path = request.path.replace("${", "{");
            let operation = operation_of(&contract, &request.method, &path)
                .unwrap_or_else(|| panic!("{}: {}", script.name, request.path));
            let status = step.response.status;
            assert!(
                operation.statuses.contains(&status),
                "{}: {} {status} is not documented",
                script.name,
                operation.id
            );
            assert!(!operation.addition || step.addition, "{}: {} is an addition", script.name, step.name);
            planned.saw(&operation.id, status);
        }
    }
    // Not to be had on purpose: 500; the limits and a request in flight are http-kit's own tests, and every POST
    // documents 409 and 422 for its idempotency key, every route 404 and 503.
    let missing = planned.missing(&contract, &[429, 500]);
    let of_keys = |line: &String| {
        // Agents run no mesh, so there are no numbers of one.
        line == "node_metrics.wireguard_raw 200"
            || line.ends_with(" 409")
            || line.ends_with(" 422")
            || line.ends_with(" 503")
            || line.ends_with(" 404")
    };
    let (expected, forgotten): (Vec<String>, Vec<String>) = missing.into_iter().partition(of_keys);
    assert_eq!(forgotten, Vec::<String>::new());
    for essential in [
        "clusters.create 409",
        "clusters.create 422",
        "clusters.delete 409",
        "nodes.change_cluster 409",
        "nodes.change_cluster 422",
        "commands.create 422",
        "commands.delete 409",
        "command_executions.cancel 409",
        "command_executions.cancel 503",
        "command_executions.delete 409",
        "clusters.create 503",
        "nodes.delete 503",
        "aliases.create 409",
        "aliases.create 422",
        "ssh_usernames.create 409",
        "ssh_usernames.create 422",
        "ssh_usernames.verify 422",
        "ssh_public_keys.create 409",
        "ssh_public_keys.create 422",
        "self_update_requests.create 422",
        "self_update_requests.create 503",
        "self_update_requests.delete 409",
    ] {
        assert!(!expected.iter().any(|line| line == essential), "{essential}");
    }
}

#[test]
fn patterns_are_strict_about_keys() {
    let shapes = BTreeMap::from([("thing".to_owned(), json!({"id": "<uuid>", "name": "<string?>", "+more": "<int>"}))]);
    let check = |original, pattern: Value, actual: Value| {
        Matcher { shapes: &shapes, original }.problems(&pattern, &actual).len()
    };
    let thing = json!({"id": "01900000-0000-7000-8000-000000000001", "name": null, "more": 1});
    assert_eq!(check(false, json!({"<shape>": "thing"}), thing.clone()), 0);
    assert_eq!(check(false, json!({"<shape>": "thing", "more": 1}), thing.clone()), 0);
    assert_eq!(check(false, json!({"<shape>": "thing", "more": 2}), thing.clone()), 1);
    assert_eq!(check(true, json!({"<shape>": "thing", "more": 2}), json!({"id": thing["id"], "name": "x"})), 0);
    assert_eq!(check(false, json!({"id": "<uuid>"}), thing.clone()), 2);
    assert_eq!(check(false, json!({"id": "<any>", "<more>": true}), thing.clone()), 0);
    assert_eq!(check(false, json!({"<shape>": "none"}), thing), 1);
    assert_eq!(check(false, json!(["<each>", "<int>"]), json!([1, 2, "3"])), 1);
    assert_eq!(check(false, json!(["<contains>", 2]), json!([1, 2])), 0);
    assert_eq!(check(false, json!(["<contains>", 3]), json!([1, 2])), 1);
    assert_eq!(check(false, json!([1]), json!([1, 2])), 1);
    assert_eq!(check(false, json!("~^a.c$"), json!("abc")), 0);
    assert_eq!(check(false, json!("<timestamp>"), json!("2026-01-01T00:00:00.000000Z")), 1);
    assert_eq!(check(false, json!("<micros>"), json!("2026-01-01T00:00:00.000000Z")), 0);
    assert_eq!(check(false, json!("<colour>"), json!("red")), 1);
}

#[test]
fn variables_keep_their_type_alone_and_are_text_inside_text() {
    let variables = BTreeMap::from([("n".to_owned(), json!(5)), ("s".to_owned(), json!("x"))]);
    assert_eq!(filled(&json!({"a": "${n}", "b": ["p-${s}-${n}"]}), &variables), Some(json!({"a": 5, "b": ["p-x-5"]})));
    assert_eq!(filled(&json!("${none}"), &variables), None);
}

const SCRIPT: &str = r#"
steps:
  - {name: make, request: {method: POST, path: /api/v1/clusters, body: {name: a}}, response: {status: 201, body: {data: {n: <int>}}}, save: {n: /data/n}}
  - {name: until, until: true, request: {method: GET, path: "/api/v1/clusters/${n}"}, response: {status: 200, body: {data: 3}}}
  - {name: wrong, request: {method: GET, path: /api/v1/clusters/x}, response: {status: 404}}
  - {given: {agent: n1}}
  - {name: left out, request: {method: GET, path: /api/v1/nodes, needs: [n1]}, response: {status: 200}}
"#;

#[tokio::test]
async fn the_player_saves_repeats_skips_and_reports() {
    let count = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let counting = count.clone();
    let show = move || {
        let n = counting.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        async move { axum::Json(json!({"data": n})) }
    };
    let make = || async { (reqwest::StatusCode::CREATED, axum::Json(json!({"data": {"n": 7}}))) };
    let router = Router::new().route("/api/v1/clusters", post(make)).route("/api/v1/clusters/{n}", get(show));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let keys = Keys { master: "m".into(), api: "a".into(), metrics: "k".into() };
    // As the original, so that the toy's answers are not held to our contract.
    let player = Player::new(&base, keys, contract()).for_original();
    let script: Script = serde_saphyr::from_str(SCRIPT).unwrap();
    let report = player.play(&script, &mut NoHost).await.unwrap();
    assert_eq!((report.fitted, report.skipped.len(), report.failures.len()), (2, 2, 1), "{report:?}");
    assert!(report.failures[0].contains("status 200 instead of 404"));
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 4);
}
