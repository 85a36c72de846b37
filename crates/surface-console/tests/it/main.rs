//! The console's API through its whole pipeline, on both databases; every answer is held to the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod api;
mod backups;
mod exchanges;
mod jobs;
mod rights;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use reeve_domain::App;
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::identity::bootstrap;
use reeve_domain::seal::Seal;
use reeve_http_kit::Contract;
use reeve_http_kit::surface::Kit;
use reeve_surface_console::routes;
use reeve_testkit::app::{Bearers, KeptReplies};
use reeve_testkit::db::TestDb;
use reeve_types::id::SystemIds;
use reeve_types::{ManualClock, Secret, Timestamp};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const ADMIN_PASSWORD: &str = "the first admin's";

/// The surface over a test database with a first admin.
pub(crate) struct Console {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) db: TestDb,
    pub(crate) app: Arc<App>,
    router: Router,
    contract: Contract,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn data(&self, pointer: &str) -> &Value {
        self.body["data"].pointer(pointer).unwrap_or(&Value::Null)
    }
    pub(crate) fn text(&self, pointer: &str) -> String {
        self.data(pointer).as_str().unwrap_or_default().to_owned()
    }
}

/// A request: method, path template, path, bearer, body, extra header.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) bearer: &'a str,
    pub(crate) body: Value,
    pub(crate) header: Option<(&'a str, &'a str)>,
}

impl Console {
    pub(crate) async fn new(db: TestDb) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000_000)));
        let key = |word: &str| Secret::new(format!("{word}-key"));
        let keys = StaticKeys {
            master: key("master"),
            api: key("api"),
            metrics: key("metrics"),
            mcp: key("mcp"),
            proxy: key("proxy"),
        };
        let ids = Arc::new(SystemIds);
        let seal = Seal::new(vec![("k1".into(), Seal::fresh_key(&*ids))]).unwrap();
        let store = db.store.clone();
        let mut config = Config::with_keys(keys);
        config.execution_pruning.enabled = true;
        let app = Arc::new(App::new(store, clock.clone(), ids.clone(), seal, config, "server".into()));
        bootstrap::first_admin(&app, Some(Secret::new(ADMIN_PASSWORD))).await.unwrap();
        let mut kit = Kit::new(clock.clone(), ids, Arc::new(Bearers(app.clone())));
        kit.idempotency = Some(Arc::new(KeptReplies(app.clone())));
        let router = routes::surface(app.clone(), kit, Arc::default()).unwrap().router("", Router::new());
        Self { clock, db, app, router, contract: Contract::parse(routes::CONTRACT).unwrap() }
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Answer {
        let mut request = Request::builder().method(ask.method).uri(ask.path);
        if !ask.bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {}", ask.bearer));
        }
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        let body = if ask.body.is_null() { Body::empty() } else { Body::from(ask.body.to_string()) };
        // Without it the events would come as a stream without end.
        let request = request.header("accept", "application/json");
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let is_json = headers.get("content-type").is_some_and(|kind| kind.to_str().unwrap().contains("json"));
        if !is_json && !bytes.is_empty() {
            return Answer { status, headers, body: Value::from(String::from_utf8(bytes.to_vec()).unwrap()) };
        }
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        self.hold_to_contract(&ask, status, &body);
        Answer { status, headers, body }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, bearer: &str, body: Value) -> Answer {
        self.ask(Ask { method, path, bearer, body, header: None }).await
    }

    /// The bytes of an answer that is a stream of them.
    pub(crate) async fn bytes(&self, path: &str, body: &Value) -> (HeaderMap, Vec<u8>) {
        let request = Request::post(path).header("authorization", "Bearer master-key");
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        (headers, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    pub(crate) async fn sql(&self, sql: &str) {
        let mut tx = self.db.store.begin().await.unwrap();
        tx.execute(sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "username": username, "password": password });
        self.send("POST", "/api/auth/login", "", body).await
    }

    fn hold_to_contract(&self, ask: &Ask<'_>, status: u16, body: &Value) {
        let path = ask.path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(t, p)| t.starts_with('{') || t == p)
        };
        let operation = self.contract.operations().iter().find(|o| o.method.as_str() == ask.method && fits(&o.path));
        let Some(operation) = operation else { return };
        let shown = (!body.is_null()).then_some(body);
        let problems = self.contract.answer_problems(&operation.id, status, shown);
        assert!(problems.is_empty(), "{} {status}: {problems:?} in {body}", operation.id);
    }
}
