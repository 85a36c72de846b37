//! What follows from the contract alone, for every operation: without a key 401, with the wrong one 403, broken bodies and
//! unknown words 400, all in the surface's own form. Nothing of the framework's own shows.

use reeve_http_kit::contract::Operation;
use reeve_testkit::app::TestApp;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::base;

const NOBODY: &str = "01900000-0000-7000-8000-00000000dead";

fn path(operation: &Operation) -> String {
    operation.path.replace("{name}", "nowhere").replace("{provider}", "upcloud").replace("{id}", NOBODY)
}

/// The answer's status, once its body is known to be an error as documented.
async fn refused(request: RequestBuilder, case: &str) -> u16 {
    let response = request.send().await.unwrap();
    let status = response.status();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let text = response.text().await.unwrap();
    assert!(kind.starts_with("application/json"), "{case}: {status} {kind}: {text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{case}: {status}: {text}"));
    let keys: Vec<&String> = body.as_object().unwrap_or_else(|| panic!("{case}: {body}")).keys().collect();
    assert_eq!(keys, ["code", "error", "message"], "{case}: {body}");
    assert_eq!(body["code"], status.as_u16().to_string(), "{case}: code is the status as text: {body}");
    let word = body["error"].as_str().unwrap();
    assert!(!word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{case}: {body}");
    assert!(!body["message"].as_str().unwrap().is_empty(), "{case}: {body}");
    status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_in_the_surfaces_own_form() {
    let app = TestApp::sqlite().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for operation in app.provisioning_contract.operations() {
        let (id, url) = (&operation.id, format!("{}{}", base(&app), path(operation)));
        let request = |method: &Method| client.request(method.clone(), &url);
        let method = &operation.method;
        if operation.permission.is_some() {
            assert_eq!(refused(request(method), id).await, 401, "{id}");
            assert_eq!(refused(request(method).bearer_auth("nonsense"), id).await, 401, "{id}");
            assert_eq!(refused(request(method).bearer_auth(&app.keys.metrics), id).await, 403, "{id}");
            assert_eq!(refused(request(method).bearer_auth(&app.keys.api), id).await, 403, "{id}");
        }
        let known = || request(method).bearer_auth(&app.keys.master);
        if operation.has_body() {
            let json = |text: &'static str| known().header("content-type", "application/json").body(text);
            for broken in ["{", "[]", "7", "null", "\"a\"", "\u{feff}{}"] {
                assert_eq!(refused(json(broken), &format!("{id} {broken}")).await, 400, "{id} {broken}");
            }
            let plain = known().header("content-type", "text/plain").body("{}");
            assert_eq!(refused(plain, id).await, 400, "{id}: never 415");
            let large = known().header("content-type", "application/json").body(" ".repeat((1 << 20) + 1));
            assert_eq!(refused(large, id).await, 400, "{id}: never 413");
        }
        for wrong in [Method::PUT, Method::PATCH, Method::DELETE, Method::POST, Method::GET, Method::OPTIONS] {
            if !app.provisioning_contract.operations().iter().any(|o| o.path == operation.path && o.method == wrong) {
                let request = client.request(wrong.clone(), &url).bearer_auth(&app.keys.master);
                assert_eq!(refused(request, &format!("{wrong} {url}")).await, 404, "{wrong} {url}: never 405");
            }
        }
    }
    for nowhere in ["/", "/v1", "/v2/servers", "/v1/servers/", "/v1/servers/a/b/c", "/v1/operations/%ff"] {
        let request = client.get(format!("{}{nowhere}", base(&app))).bearer_auth(&app.keys.master);
        let status = refused(request, nowhere).await;
        assert!(matches!(status, 400 | 404), "{nowhere}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_then_permission_then_body_then_existence_then_state() {
    let app = TestApp::sqlite().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/servers/srv-abc123", base(&app));
    let delete = |key: Option<&str>, body: &'static str| {
        let request = client.delete(&url).header("content-type", "application/json").body(body);
        match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    };
    assert_eq!(refused(delete(None, "{"), "1").await, 401);
    assert_eq!(refused(delete(Some(&app.keys.metrics), "{"), "2").await, 403);
    assert_eq!(refused(delete(Some(&app.keys.master), "{"), "3").await, 400);
    let other = r#"{"server_id": "srv-zzz999"}"#;
    assert_eq!(refused(delete(Some(&app.keys.master), other), "4").await, 400);
    assert_eq!(refused(delete(Some(&app.keys.master), "{}"), "5").await, 404);
    // Clients and proxies that drop the bodies of deletions are understood.
    assert_eq!(refused(client.delete(&url).bearer_auth(&app.keys.master), "6").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_for_is_ignored() {
    let app = TestApp::sqlite().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/v1/servers", "/v1/operations", "/v1/workspaces", "/health", "/v1/metrics"] {
        let url = format!("{}{path}?colour=red&colour=blue&%F0=1", base(&app));
        let response = client.get(url).bearer_auth(&app.keys.master).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let body = serde_json::json!({"name": "w", "colour": "red"});
    let url = format!("{}/v1/workspaces/create", base(&app));
    let response = client.post(url).bearer_auth(&app.keys.master).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
