//! The simulated UpCloud's URLs, statuses and error bodies.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use reeve_types::{Clock, Timestamp};
use serde_json::{Value, json};

use super::Inner;
use super::catalogue;
use super::order;
use super::world::{Phase, Server, World};

/// An error answer.
pub struct Refusal {
    status: u16,
    kind: &'static str,
    body: Value,
}

impl Refusal {
    /// As the older services answer.
    pub fn old(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"error": {"error_code": code, "error_message": message}});
        Self { status, kind: "application/json", body }
    }
    /// As the others do.
    pub fn problem(name: &str, reason: &str) -> Self {
        let body = json!({
            "type": "https://developers.upcloud.com/1.3/errors#ERROR_VALIDATION_ERROR",
            "title": "Validation error.",
            "status": 400,
            "invalid_params": [{"name": name, "reason": reason}],
            "correlation_id": "01SIMULATED",
        });
        Self { status: 400, kind: "application/problem+json", body }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("a status");
        (status, [(header::CONTENT_TYPE, self.kind)], self.body.to_string()).into_response()
    }
}

type Answer = Result<Response, Refusal>;
type Sim = State<Arc<Inner>>;

pub fn routes(inner: Arc<Inner>) -> Router {
    let api = Router::new()
        .route("/account", get(account))
        .route("/zone", get(|| async { Json(catalogue::zones()) }))
        .route("/plan", get(|| async { Json(catalogue::plans()) }))
        .route("/price", get(|| async { Json(catalogue::prices()) }))
        .route("/server_size", get(|| async { Json(catalogue::server_sizes()) }))
        .route("/storage/template", get(|| async { Json(catalogue::templates()) }))
        .route("/storage", get(storages))
        .route("/storage/{uuid}", get(storage).delete(delete_storage))
        .route("/server", get(servers).post(create))
        .route("/server/{uuid}", get(server).put(modify).delete(delete))
        .route("/server/{uuid}/", axum::routing::delete(delete))
        .route("/server/{uuid}/start", post(start))
        .route("/server/{uuid}/stop", post(stop))
        .route("/server/{uuid}/restart", post(restart))
        .fallback(|| async { Refusal::old(404, "NOT_FOUND", "The requested resource does not exist.") })
        .method_not_allowed_fallback(|| async { Refusal::old(405, "METHOD_NOT_ALLOWED", "The method is not allowed.") })
        .layer(middleware::from_fn_with_state(inner.clone(), authenticate))
        .with_state(inner);
    Router::new().nest("/1.3", api)
}

async fn authenticate(State(inner): Sim, headers: HeaderMap, request: Request, next: Next) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !inner.accepted.iter().any(|accepted| accepted == given) {
        return Refusal::old(401, "AUTHENTICATION_FAILED", "Authentication failed using the given credentials.")
            .into_response();
    }
    next.run(request).await
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.time.now()
    }
    /// The world as it is at this instant.
    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        let mut world = self.world.lock().expect("no panic while it is held");
        world.settle(self.now());
        world
    }
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::old(400, "REQUEST_INVALID", "The request body is no JSON."))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .chars()
            .enumerate()
            .all(|(i, c)| if matches!(i, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() })
}

fn find<'a>(world: &'a World, uuid: &str) -> Result<&'a Server, Refusal> {
    if !is_uuid(uuid) {
        return Err(Refusal::old(400, "SERVER_INVALID", "The server's UUID is invalid."));
    }
    world
        .servers
        .get(uuid)
        .ok_or_else(|| Refusal::old(404, "SERVER_NOT_FOUND", &format!("The server {uuid} does not exist.")))
}

fn state_illegal(uuid: &str, state: &str) -> Refusal {
    let message = format!("The state of the server {uuid} ({state}) does not allow this operation.");
    Refusal::old(409, "SERVER_STATE_ILLEGAL", &message)
}

async fn account(State(inner): Sim) -> Answer {
    let world = inner.world();
    let credits = if world.switches.credit { 10_000 } else { 0 };
    let limits = json!({"cores": 1000, "memory": 4_096_000, "storage_maxiops": 102_400});
    Ok(Json(json!({"account": {"credits": credits, "username": "simulated", "resource_limits": limits}}))
        .into_response())
}

async fn servers(State(inner): Sim, RawQuery(query): RawQuery) -> Answer {
    let world = inner.world();
    let wanted: Vec<(String, Option<String>)> = form(query.as_deref().unwrap_or_default())
        .filter(|(key, _)| key == "label")
        .map(|(_, label)| match label.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (label, None),
        })
        .collect();
    let now = inner.now();
    let listed = world.servers.values().filter(|server| {
        let has = |(key, value): &(String, Option<String>)| {
            server.labels.iter().any(|(k, v)| k == key && value.as_ref().is_none_or(|value| value == v))
        };
        wanted.iter().all(has) && now.ms_since(server.created) >= world.switches.lists_lag_ms
    });
    let servers: Vec<Value> = listed.map(|server| world.brief(server)).collect();
    Ok(Json(json!({"servers": {"server": servers}})).into_response())
}

/// The pairs of a query, decoded.
fn form(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value)))
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let hex =
            (bytes[i] == b'%').then(|| text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok())).flatten();
        match (hex, bytes[i]) {
            (Some(byte), _) => {
                decoded.push(byte);
                i += 2;
            }
            (None, b'+') => decoded.push(b' '),
            (None, byte) => decoded.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

async fn create(State(inner): Sim, body: Bytes) -> Answer {
    let now = inner.now();
    let mut world = inner.world();
    let server = order::place(&mut world, &parse(&body)?, now)?;
    let mut detail = world.detail(&server, true);
    if parse(&body)?.pointer("/server/login_user/create_password") != Some(&json!("no")) {
        detail["password"] = json!("simulated-once");
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"server": detail}))).into_response())
}

async fn server(State(inner): Sim, Path(uuid): Path<String>) -> Answer {
    let world = inner.world();
    Ok(Json(json!({"server": world.detail(find(&world, &uuid)?, false)})).into_response())
}

async fn modify(State(inner): Sim, Path(uuid): Path<String>, body: Bytes) -> Answer {
    let mut world = inner.world();
    find(&world, &uuid)?;
    let change = parse(&body)?;
    let change = change.get("server").cloned().unwrap_or_default();
    let labels = order::labels(&change)?;
    if let Some(server) = world.servers.get_mut(&uuid) {
        if change.get("labels").is_some() {
            server.labels = labels;
        }
        for (field, place) in [("title", &mut server.title), ("hostname", &mut server.hostname)] {
            if let Some(text) = change.get(field).and_then(Value::as_str) {
                *place = text.to_owned();
            }
        }
    }
    let detail = world.detail(find(&world, &uuid)?, false);
    Ok((StatusCode::ACCEPTED, Json(json!({"server": detail}))).into_response())
}

async fn start(State(inner): Sim, Path(uuid): Path<String>) -> Answer {
    let mut world = inner.world();
    if find(&world, &uuid)?.phase != Phase::Stopped {
        return Err(state_illegal(&uuid, "started"));
    }
    if let Some(server) = world.servers.get_mut(&uuid) {
        server.phase = Phase::Started;
    }
    Ok(Json(json!({"server": world.detail(find(&world, &uuid)?, false)})).into_response())
}

async fn stop(State(inner): Sim, Path(uuid): Path<String>, body: Bytes) -> Answer {
    let now = inner.now();
    let mut world = inner.world();
    match find(&world, &uuid)?.phase {
        Phase::Started => {}
        Phase::Stopping { .. } if body_is_hard(&body) => {}
        Phase::Stopped => return Err(state_illegal(&uuid, "stopped")),
        _ => return Err(state_illegal(&uuid, "maintenance")),
    }
    let options = if body.is_empty() { Value::Null } else { parse(&body)? };
    let options = options.get("stop_server").cloned().unwrap_or_default();
    let timeout = options.get("timeout").map_or(Ok(60), |t| t.as_str().unwrap_or_default().parse::<i64>());
    let Some(timeout) = timeout.ok().filter(|t| (1..=600).contains(t)) else {
        return Err(Refusal::old(400, "TIMEOUT_INVALID", "The timeout must be a string of 1 to 600."));
    };
    let soft = !body_is_hard(&body);
    world.stop(&uuid, soft, timeout, now);
    // The state is still "started".
    Ok(Json(json!({"server": world.detail(find(&world, &uuid)?, false)})).into_response())
}

fn body_is_hard(body: &Bytes) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.pointer("/stop_server/stop_type") == Some(&json!("hard"))
}

async fn restart(State(inner): Sim, Path(uuid): Path<String>) -> Answer {
    let world = inner.world();
    let server = find(&world, &uuid)?;
    if server.phase != Phase::Started {
        return Err(state_illegal(&uuid, "not started"));
    }
    Ok(Json(json!({"server": world.detail(server, false)})).into_response())
}

async fn delete(State(inner): Sim, Path(uuid): Path<String>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let mut world = inner.world();
    if find(&world, &uuid)?.phase != Phase::Stopped {
        return Err(state_illegal(&uuid, "started"));
    }
    let storages = query.get("storages").is_some_and(|value| value == "1" || value == "true");
    world.remove(&uuid, storages);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn storages(State(inner): Sim) -> Answer {
    let world = inner.world();
    let storages: Vec<Value> = world.storages.values().map(|storage| world.storage(storage)).collect();
    Ok(Json(json!({"storages": {"storage": storages}})).into_response())
}

/// One storage, or those of a kind: the original has both under one path.
async fn storage(State(inner): Sim, Path(uuid): Path<String>) -> Answer {
    if matches!(uuid.as_str(), "normal" | "private") {
        return storages(State(inner)).await;
    }
    if matches!(uuid.as_str(), "public" | "backup" | "cdrom" | "favorite") {
        return Ok(Json(json!({"storages": {"storage": []}})).into_response());
    }
    let world = inner.world();
    match world.storages.get(&uuid) {
        Some(storage) => Ok(Json(json!({"storage": world.storage(storage)})).into_response()),
        None => Err(Refusal::old(404, "STORAGE_NOT_FOUND", &format!("The storage {uuid} does not exist."))),
    }
}

async fn delete_storage(State(inner): Sim, Path(uuid): Path<String>) -> Answer {
    let mut world = inner.world();
    match world.storages.get(&uuid).map(|storage| storage.server.is_some()) {
        None => Err(Refusal::old(404, "STORAGE_NOT_FOUND", &format!("The storage {uuid} does not exist."))),
        Some(true) => Err(Refusal::old(409, "STORAGE_STATE_ILLEGAL", "The storage is attached to a server.")),
        Some(false) => {
            world.storages.remove(&uuid);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}
