//! The toy: a contract of a few operations, three callers, an idempotency store in memory.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use reeve_http_kit::idempotency::IdempotencyStore;
use reeve_http_kit::limits::{LimitRates, Limits};
use reeve_http_kit::listener::{Listener, ListenerOptions};
use reeve_http_kit::page::Pagination;
use reeve_http_kit::{Access, Authenticate, Call, Contract, Envelope, Fault, Kit, Meta, Mounted, Reply, Surface, sse};
use reeve_types::access::{IdempotencyKey, Lookup, StaticKey, StoredReply};
use reeve_types::id::SystemIds;
use reeve_types::{Actor, Error, Page, Paged, Permission, Principal, Result, SystemClock};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const CONTRACT: &str = r##"
openapi: 3.0.3
info: {title: toy, version: "1"}
paths:
  /things:
    post:
      operationId: things.create
      x-reeve: {permission: edge.nodes.write, degraded_gate: true}
      requestBody: {content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string, minLength: 1}}}}}}
      responses: {"201": {description: made}}
    get:
      operationId: things.list
      x-reeve: {permission: edge.nodes.read}
      parameters:
        - {name: page, in: query, schema: {type: integer, minimum: 1, default: 1}}
        - {name: page_size, in: query, schema: {type: integer, minimum: 1, maximum: 100, default: 20}}
      responses: {"200": {description: page}}
  /things/{name}:
    parameters: [{name: name, in: path, required: true, schema: {type: string, maxLength: 8}}]
    get:
      operationId: things.get
      x-reeve: {permission: edge.nodes.read}
      responses: {"200": {description: one}}
  /wait:
    get:
      operationId: wait
      x-reeve: {permission: edge.nodes.read}
      responses: {"200": {description: waited}}
  /panic:
    get:
      operationId: panic
      x-reeve: {permission: edge.nodes.read}
      responses: {"200": {description: never}}
  /stream:
    get:
      operationId: stream
      x-reeve: {permission: edge.nodes.read, stream: true}
      responses: {"200": {description: events}}
  /open:
    get:
      operationId: open
      security: []
      responses: {"200": {description: everybody}}
"##;

#[derive(Default)]
pub struct State {
    pub made: AtomicUsize,
    pub waiting: Notify,
    pub release: Notify,
}

async fn create(state: Arc<State>, mut call: Call) -> Result<Reply> {
    let body: Value = call.body()?;
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    if name == "wait" {
        state.waiting.notify_one();
        state.release.notified().await;
    }
    let made = state.made.fetch_add(1, Ordering::SeqCst) + 1;
    if name == "conflict" {
        return Err(Error::conflict("name has already been taken"));
    }
    Reply::created(
        &format!("/things/{name}"),
        &json!({"name": name, "made": made, "by": call.actor.principal.label(), "request_id": call.actor.request.request_id}),
    )
}

async fn list(_: Arc<State>, call: Call) -> Result<Reply> {
    let Page { number, size } = call.page();
    Reply::page(&Paged { items: vec![json!({"number": number})], total: 45, page: Page { number, size } })
}

async fn get(_: Arc<State>, call: Call) -> Result<Reply> {
    match call.param("name") {
        "gone" => Err(Error::not_found("thing")),
        "broken" => Err(Error::internal("secret detail")),
        name => Reply::ok(&json!({"name": name, "remote": call.actor.request.remote})),
    }
}

async fn wait(state: Arc<State>, _: Call) -> Result<Reply> {
    state.waiting.notify_one();
    state.release.notified().await;
    Reply::ok(&"waited")
}

async fn panics(_: Arc<State>, call: Call) -> Result<Reply> {
    assert!(call.header("host").is_none(), "as asked");
    Ok(Reply::no_content())
}

async fn stream(_: Arc<State>, call: Call) -> Result<Reply> {
    let from: u64 = call.last_event_id().and_then(|id| id.parse().ok()).unwrap_or(0);
    let first = sse::Event::new("tick", "now").with_id(from + 1);
    let events = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    sse::reply(events, call.draining.clone())
}

async fn open(_: Arc<State>, call: Call) -> Result<Reply> {
    Reply::ok(&call.actor.principal.label())
}

pub struct Plain;

impl Envelope for Plain {
    fn data(&self, json: &str, pagination: Option<&Pagination>, meta: Meta<'_>) -> String {
        let data: Value = serde_json::from_str(json).unwrap();
        json!({"data": data, "id": meta.request_id, "pages": pagination.map(|p| p.total_pages)}).to_string()
    }
    fn fault(&self, fault: &Fault, meta: Meta<'_>) -> (StatusCode, String) {
        let (status, word) = match fault {
            Fault::Refused(error) => match error.kind {
                reeve_types::ErrorKind::NotFound => (404, "refused"),
                reeve_types::ErrorKind::Conflict => (409, "refused"),
                reeve_types::ErrorKind::Unauthenticated => (401, "refused"),
                reeve_types::ErrorKind::Forbidden => (403, "refused"),
                _ => (500, "refused"),
            },
            Fault::BadRequest(_) => (400, "contract"),
            Fault::MalformedBody => (400, "malformed"),
            Fault::UnknownRoute => (404, "unknown route"),
            Fault::WrongMethod { .. } => (405, "wrong method"),
            Fault::UnsupportedMediaType => (415, "media type"),
            Fault::TooLarge { .. } => (413, "too large"),
            Fault::SlowBody => (408, "slow body"),
            Fault::OverLimit { .. } => (429, "over limit"),
            Fault::Degraded => (503, "degraded"),
            Fault::TimedOut => (503, "timed out"),
            Fault::Panicked => (500, "panicked"),
            Fault::IdempotencyMismatch => (422, "mismatch"),
            Fault::IdempotencyInProgress => (409, "in progress"),
            Fault::IdempotencyUnanswered => (409, "unanswered"),
        };
        (StatusCode::from_u16(status).unwrap(), json!({"error": word, "id": meta.request_id}).to_string())
    }
}

/// `writer` may everything here, `reader` only reads, and `leaving` loses that right once it is granted.
pub struct Keys;

impl Authenticate for Keys {
    fn authenticate<'a>(&'a self, bearer: Option<&'a str>, _: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Actor>>> {
        let (key, permissions) = match bearer {
            Some("writer") => {
                (StaticKey::Master, vec![Permission::NodesRead, Permission::NodesWrite, Permission::MetricsRead])
            }
            Some("reader" | "leaving") => (StaticKey::Api, vec![Permission::NodesRead]),
            _ => return async { Ok(None) }.boxed(),
        };
        let actor = Actor {
            principal: Principal::Key(key),
            permissions: Arc::new(BTreeSet::from_iter(permissions)),
            request: Default::default(),
        };
        async move { Ok(Some(actor)) }.boxed()
    }

    fn revoked(&self, bearer: &str, _: Permission) -> BoxFuture<'static, ()> {
        if bearer == "leaving" { async {}.boxed() } else { futures::future::pending().boxed() }
    }
}

/// Keys are taken at lookup here; the real one takes them in the transaction of the effect.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<String, (String, Option<StoredReply>)>>);

impl IdempotencyStore for Kept {
    fn lookup<'a>(&'a self, _: &'a Actor, key: &'a IdempotencyKey) -> BoxFuture<'a, Result<Lookup>> {
        let mut kept = self.0.lock().unwrap();
        let found = match kept.get(&key.key) {
            None => {
                kept.insert(key.key.clone(), (key.fingerprint.clone(), None));
                Lookup::Fresh
            }
            Some((fingerprint, _)) if *fingerprint != key.fingerprint => Lookup::Mismatch,
            Some((_, Some(reply))) => Lookup::Replay(reply.clone()),
            Some((_, None)) => Lookup::InProgress,
        };
        async move { Ok(found) }.boxed()
    }
    fn complete<'a>(&'a self, _: &'a Actor, key: &'a IdempotencyKey, reply: StoredReply) -> BoxFuture<'a, Result<()>> {
        self.0.lock().unwrap().insert(key.key.clone(), (key.fingerprint.clone(), Some(reply)));
        async { Ok(()) }.boxed()
    }
}

pub fn kit() -> Kit {
    let mut kit = Kit::new(Arc::new(SystemClock), Arc::new(SystemIds), Arc::new(Keys));
    kit.idempotency = Some(Arc::new(Kept::default()));
    kit.limits = Arc::new(Limits::new(LimitRates::OFF));
    kit
}

pub fn surface(state: Arc<State>, kit: Kit) -> Surface<Arc<State>> {
    let read = Access::Require(Permission::NodesRead);
    Surface::new("toy", Arc::new(Contract::parse(CONTRACT).unwrap()), Arc::new(Plain), state, kit)
        .route(Method::POST, "/things", "things.create", Access::Require(Permission::NodesWrite), create)
        .route(Method::GET, "/things", "things.list", read, list)
        .route(Method::GET, "/things/{name}", "things.get", read, get)
        .route(Method::GET, "/wait", "wait", read, wait)
        .route(Method::GET, "/panic", "panic", read, panics)
        .route(Method::GET, "/stream", "stream", read, stream)
        .route(Method::GET, "/open", "open", Access::Public, open)
}

/// A running toy.
pub struct Toy {
    pub state: Arc<State>,
    pub url: String,
    pub address: SocketAddr,
    pub draining: CancellationToken,
    pub client: reqwest::Client,
    pub serving: JoinHandle<()>,
}

impl Toy {
    pub async fn start(kit: Kit) -> Self {
        Self::start_with(kit, ListenerOptions::default(), client(None)).await
    }

    pub async fn start_with(kit: Kit, options: ListenerOptions, client: reqwest::Client) -> Self {
        let state = Arc::new(State::default());
        let draining = kit.draining.clone();
        let mounted: Mounted = surface(state.clone(), kit).build().unwrap();
        let router =
            mounted.router("", axum::Router::new()).nest("/under", mounted.router("/under", axum::Router::new()));
        let listener = Listener::bind("toy", ([127, 0, 0, 1], 0).into(), options).await.unwrap();
        let (url, address) = (listener.url(), listener.address());
        let serving = tokio::spawn(listener.serve(router, draining.clone()));
        Self { state, url, address, draining, client, serving }
    }

    pub fn request(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if key.is_empty() { request } else { request.bearer_auth(key) }
    }

    pub async fn get(&self, path: &str, key: &str) -> (u16, Value) {
        outcome(self.request(Method::GET, path, key)).await
    }

    pub async fn create(&self, key: &str, body: Value) -> (u16, Value) {
        outcome(self.request(Method::POST, "/things", key).json(&body)).await
    }
}

pub async fn outcome(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub fn client(trusted: Option<&[u8]>) -> reqwest::Client {
    // Fails when another test has installed it already, which is fine.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder().no_proxy();
    match trusted {
        None => builder.build().unwrap(),
        Some(pem) => builder.tls_certs_only([reqwest::Certificate::from_pem(pem).unwrap()]).build().unwrap(),
    }
}
