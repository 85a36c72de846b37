//! What does not fit together does not start; documentation and probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use reeve_http_kit::listener::{Listener, ListenerOptions};
use reeve_http_kit::measure::Metrics;
use reeve_http_kit::probes::{CheckResult, Health, Probes, metrics_router};
use reeve_http_kit::{Access, Call, Contract, Reply, Surface};
use reeve_types::Permission;
use serde_json::{Value, json};

use crate::toy::{self, CONTRACT, Keys, Plain, State, Toy, kit};

async fn nothing(_: Arc<State>, _: Call) -> reeve_types::Result<Reply> {
    Ok(Reply::no_content())
}

#[test]
fn a_table_that_does_not_fit_its_contract_is_refused_with_all_reasons() {
    let surface = Surface::new(
        "toy",
        Arc::new(Contract::parse(CONTRACT).unwrap()),
        Arc::new(Plain),
        Arc::new(State::default()),
        kit(),
    )
    .route(Method::GET, "/things", "things.create", Access::Require(Permission::NodesWrite), nothing)
    .route(Method::GET, "/things", "things.list", Access::Public, nothing)
    .route(Method::GET, "/wait", "wait", Access::Require(Permission::NodesRead), nothing)
    .route(Method::GET, "/wait", "wait", Access::Require(Permission::NodesRead), nothing)
    .route(Method::GET, "/more", "more", Access::Public, nothing);
    let source = surface.build().err().unwrap().source.unwrap().to_string();
    for part in [
        "things.create is POST /things in the contract, GET /things in the table",
        "things.list is Require(NodesRead) in the contract, Public in the table",
        "wait has two routes",
        "no operation more for GET /more",
        "no route for things.get (GET /things/{name})",
        "no route for open",
    ] {
        assert!(source.contains(part), "{part} in {source}");
    }
}

#[test]
fn the_table_can_be_read() {
    let mounted = toy::surface(Arc::default(), kit()).build().unwrap();
    let lines: Vec<String> =
        mounted.routes().iter().map(|r| format!("{} {} {} {:?}", r.method, r.path, r.operation, r.access)).collect();
    assert_eq!(lines[0], "POST /things things.create Require(NodesWrite)");
    assert_eq!(lines[6], "GET /open open Public");
    assert_eq!(mounted.contract().operations().len(), 7);
}

#[tokio::test]
async fn documentation_is_served_from_the_binary_without_inline_scripts() {
    let toy = Toy::start(kit()).await;
    let (status, document) = toy.get("/api/openapi", "").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.0.3")));
    assert!(document["paths"]["/things"]["post"].get("x-reeve").is_none());
    let page = toy.request(Method::GET, "/under/swaggerui", "").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"));
    let html = page.text().await.unwrap();
    assert!(html.matches("<script").count() == html.matches("<script src=").count());
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "start.js"] {
        assert!(html.contains(&format!("swaggerui/{file}")));
        assert_eq!(toy.request(Method::GET, &format!("/swaggerui/{file}"), "").send().await.unwrap().status(), 200);
    }
    let style = |accept: &'static str| {
        let request = toy.request(Method::GET, "/swaggerui/swagger-ui.css", "").header("accept-encoding", accept);
        async { request.send().await.unwrap() }
    };
    for accept in ["identity", "br, gzip;q=0"] {
        let plain = style(accept).await;
        assert!(plain.headers().get("content-encoding").is_none() && plain.headers()["vary"] == "accept-encoding");
        assert!(plain.text().await.unwrap().contains(".swagger-ui"));
    }
    let packed = style("deflate, gzip").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
    let mut closed = kit();
    closed.docs = false;
    let toy = Toy::start(closed).await;
    assert_eq!(toy.get("/api/openapi", "").await, (404, json!({"errors": {"detail": "Not Found"}})));
    assert_eq!(toy.get("/swaggerui/start.js", "").await.0, 404);
}

struct Checks;

impl Health for Checks {
    fn check(&self) -> BoxFuture<'_, Vec<CheckResult>> {
        async { vec![CheckResult { name: "Database".into(), healthy: true, error: None, time: 5 }] }.boxed()
    }
}

#[tokio::test]
async fn probes_tell_alive_ready_and_degraded_apart() {
    let kit = kit();
    let probes = Probes {
        version: "1.2.3",
        health: Arc::new(Checks),
        degraded: kit.degraded.clone(),
        draining: kit.draining.child_token(),
    };
    let metrics = Metrics::install().unwrap();
    let mounted = toy::surface(Arc::default(), kit.clone()).build().unwrap();
    let router = mounted.router("", probes.router().merge(metrics_router(metrics.clone(), Arc::new(Keys))));
    let listener = Listener::bind("probes", ([127, 0, 0, 1], 0).into(), ListenerOptions::default()).await.unwrap();
    let url = listener.url();
    tokio::spawn(listener.serve(router, kit.draining.clone()));
    let client = toy::client(None);
    let get = |path: &str| client.get(format!("{url}{path}")).bearer_auth("writer").send();

    let alive = get("/livez").await.unwrap();
    assert!(!alive.headers().contains_key("x-request-id"));
    assert_eq!(alive.json::<Value>().await.unwrap(), json!({"status": "ok", "version": "1.2.3"}));
    assert_eq!(
        get("/healthz").await.unwrap().json::<Value>().await.unwrap(),
        json!([{"name": "Database", "healthy": true, "error": null, "time": 5}])
    );
    assert_eq!(get("/health/cluster").await.unwrap().status(), 200);
    kit.degraded.store(true, Ordering::Relaxed);
    assert_eq!(get("/health/cluster").await.unwrap().status(), 503);
    assert_eq!(get("/readyz").await.unwrap().status(), 200);
    probes.draining.cancel();
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
    assert_eq!(get("/ping").await.unwrap().status(), 200);

    get("/things").await.unwrap();
    assert_eq!(client.get(format!("{url}/metrics")).send().await.unwrap().status(), 401);
    assert_eq!(client.get(format!("{url}/metrics")).bearer_auth("reader").send().await.unwrap().status(), 403);
    let text = get("/metrics").await.unwrap().text().await.unwrap();
    assert!(
        text.contains("reeve_http_requests_total{surface=\"toy\",operation=\"things.list\",status=\"2xx\"} 1"),
        "{text}"
    );
    let open = client
        .get(format!("{url}/metrics"))
        .bearer_auth("writer")
        .header("accept", "application/openmetrics-text")
        .send()
        .await
        .unwrap();
    assert!(open.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().await.unwrap().ends_with("# EOF\n"));
    metrics.upkeep();
}
