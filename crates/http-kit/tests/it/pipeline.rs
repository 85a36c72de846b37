//! The order of the pipeline and what each stage answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use reeve_http_kit::cors::Cors;
use reeve_http_kit::limits::{LimitRates, Limits, Rate};
use serde_json::{Value, json};

use crate::toy::{Toy, kit, outcome};

fn word(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn stages_answer_in_their_order() {
    let mut kit = kit();
    kit.body_limit_bytes = 1024;
    kit.degraded.store(true, Ordering::Relaxed);
    let degraded = kit.degraded.clone();
    let toy = Toy::start(kit).await;
    let large = json!({"name": "x".repeat(2048)});
    // Every later stage would refuse too: the earliest one has to win.
    assert_eq!(word(&toy.create("", large.clone()).await), (401, "refused"));
    assert_eq!(word(&toy.create("stranger", large.clone()).await), (401, "refused"));
    assert_eq!(word(&toy.create("reader", large.clone()).await), (403, "refused"));
    assert_eq!(word(&toy.create("writer", large).await), (413, "too large"));
    assert_eq!(word(&toy.create("writer", json!({})).await), (400, "contract"));
    assert_eq!(word(&toy.create("writer", json!({"name": "a"})).await), (503, "degraded"));
    assert_eq!(toy.state.made.load(Ordering::SeqCst), 0);
    degraded.store(false, Ordering::Relaxed);
    let (status, body) = toy.create("writer", json!({"name": "a", "ignored": true})).await;
    assert_eq!((status, &body["data"]["name"]), (201, &json!("a")));
    assert_eq!(word(&toy.create("writer", json!({"name": "conflict"})).await), (409, "refused"));
}

#[tokio::test]
async fn limits_come_before_the_body_and_say_when_to_come_back() {
    let mut kit = kit();
    let few = Rate { per_second: 1, burst: 2 };
    kit.limits = Arc::new(Limits::new(LimitRates { principal: few, anonymous: few, failures: few }));
    let toy = Toy::start(kit).await;
    for _ in 0..2 {
        assert_eq!(toy.get("/things", "writer").await.0, 200);
    }
    let refused = toy.request(Method::POST, "/things", "writer").body("not json").send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(toy.get("/things", "reader").await.0, 200, "another principal has its own budget");
    for expected in [200, 200, 429] {
        assert_eq!(toy.get("/open", "").await.0, expected);
    }
    for expected in [401, 401, 429] {
        assert_eq!(toy.get("/things", "guess").await.0, expected, "guessing is bounded by address");
    }
}

#[tokio::test]
async fn request_ids_are_ours_and_equal_in_header_and_body() {
    let toy = Toy::start(kit()).await;
    let response = toy.request(Method::GET, "/things/a", "reader").header("x-request-id", "mine").send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["id"], json!(id));
    assert_eq!(&id[14..15], "7");
    assert_eq!(body["data"]["remote"], "127.0.0.1");
    let refused = toy.request(Method::GET, "/nowhere", "").send().await.unwrap();
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(refused.json::<Value>().await.unwrap()["id"], json!(id));
}

#[tokio::test]
async fn what_is_not_there_leaves_in_the_envelope() {
    let toy = Toy::start(kit()).await;
    assert_eq!(word(&toy.get("/nowhere", "writer").await), (404, "unknown route"));
    assert_eq!(word(&toy.get("/under/nowhere", "writer").await), (404, "unknown route"));
    let wrong = toy.request(Method::DELETE, "/things", "writer").send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.headers()["allow"].to_str().unwrap()), (405, "POST, GET"));
    assert_eq!(toy.request(Method::OPTIONS, "/things", "").send().await.unwrap().status(), 405);
    assert_eq!(word(&toy.get("/things/gone", "reader").await), (404, "refused"));
    assert_eq!(word(&toy.get("/things/far-too-long", "reader").await), (400, "contract"));
    assert_eq!(word(&toy.get("/things/%ff", "reader").await), (400, "contract"));
    assert_eq!(word(&toy.get("/things/a%00b", "reader").await), (400, "contract"));
    assert_eq!(word(&toy.get("/things?colour=red", "reader").await), (400, "contract"));
    let (status, body) = toy.get("/things/broken", "reader").await;
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("secret"), "sources are for the log");
}

#[tokio::test]
async fn bodies_are_json_and_bounded() {
    let toy = Toy::start(kit()).await;
    let post = |body: &'static str, kind: &'static str| {
        toy.request(Method::POST, "/things", "writer").header("content-type", kind).body(body)
    };
    assert_eq!(word(&outcome(post("{", "application/json")).await), (400, "malformed"));
    assert_eq!(word(&outcome(post("name=a", "application/x-www-form-urlencoded")).await), (415, "media type"));
    assert_eq!(outcome(post("{\"name\":\"a\"}", "application/merge-patch+json; charset=utf-8")).await.0, 201);
    let chunks = futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
    let endless = toy.request(Method::POST, "/things", "writer").body(reqwest::Body::wrap_stream(chunks));
    // The server may close before all is sent; then the client sees that instead of the answer.
    if let Ok(response) = endless.send().await {
        assert_eq!(response.status(), 413);
    }
}

#[tokio::test]
async fn head_is_get_without_body_and_answers_carry_security_headers() {
    let toy = Toy::start(kit()).await;
    let head = toy.request(Method::HEAD, "/things/a", "reader").send().await.unwrap();
    assert_eq!(head.status(), 200);
    let headers = head.headers().clone();
    assert_eq!(head.text().await.unwrap(), "");
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
    ] {
        assert!(headers[name].to_str().unwrap().contains(part), "{name}");
    }
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn other_origins_are_let_in_by_name_only() {
    let mut kit = kit();
    kit.cors = Cors::new(&["https://ui.example".to_owned()], &[]).unwrap();
    let toy = Toy::start(kit).await;
    let preflight = |origin: &'static str| {
        toy.request(Method::OPTIONS, "/things", "")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let allowed = preflight("https://ui.example").await.unwrap();
    assert_eq!(
        (allowed.status().as_u16(), allowed.headers()["access-control-allow-origin"].to_str().unwrap()),
        (200, "https://ui.example")
    );
    assert!(!preflight("https://evil.example").await.unwrap().headers().contains_key("access-control-allow-origin"));
    assert!(Cors::new(&[], &[]).unwrap().is_none());
}

#[tokio::test]
async fn pages_and_locations() {
    let toy = Toy::start(kit()).await;
    let (status, body) = toy.get("/things?page=3&page_size=10", "reader").await;
    assert_eq!((status, &body["data"], &body["pages"]), (200, &json!([{"number": 3}]), &json!(5)));
    for prefix in ["", "/under"] {
        let request = toy.request(Method::POST, &format!("{prefix}/things"), "writer").json(&json!({"name": "a"}));
        let made = request.send().await.unwrap();
        assert_eq!(made.headers()["location"].to_str().unwrap(), format!("{prefix}/things/a"));
    }
}

#[tokio::test]
async fn an_idempotency_key_runs_the_request_once() {
    let toy = Toy::start(kit()).await;
    let post = |key: &str, name: &str| {
        toy.request(Method::POST, "/things", "writer").header("idempotency-key", key).json(&json!({"name": name}))
    };
    let first = post("k1", "a").send().await.unwrap();
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first: Value = first.json().await.unwrap();
    let again = post("k1", "a").send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["idempotency-replayed"].to_str().unwrap()), (201, "true"));
    assert_eq!(again.headers()["location"], "/things/a");
    let again: Value = again.json().await.unwrap();
    assert_eq!(first["data"], again["data"]);
    assert_ne!(first["id"], again["id"], "the envelope is of this request");
    assert_eq!(word(&outcome(post("k1", "b")).await), (422, "mismatch"));

    let running = tokio::spawn(post("k2", "wait").send());
    toy.state.waiting.notified().await;
    let second = post("k2", "wait").send().await.unwrap();
    assert_eq!((second.status().as_u16(), second.headers()["retry-after"].to_str().unwrap()), (409, "1"));
    toy.state.release.notify_one();
    assert_eq!(running.await.unwrap().unwrap().status(), 201);
    assert_eq!(outcome(post("k2", "wait")).await.0, 201);
    assert_eq!(toy.state.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn panics_and_endless_handlers_end_in_the_envelope() {
    let mut kit = kit();
    kit.handler_timeout = Duration::from_millis(500);
    let toy = Toy::start(kit).await;
    assert_eq!(word(&toy.get("/panic", "reader").await), (500, "panicked"));
    assert_eq!(word(&toy.get("/wait", "reader").await), (503, "timed out"));
    assert_eq!(toy.get("/things", "reader").await.0, 200);
}

#[tokio::test]
async fn public_routes_know_who_asks_when_it_is_said() {
    let toy = Toy::start(kit()).await;
    assert_eq!(toy.get("/open", "").await.1["data"], "anonymous");
    assert_eq!(toy.get("/open", "reader").await.1["data"], "key:api_key");
    assert_eq!(toy.get("/open", "stranger").await.1["data"], "anonymous");
}
