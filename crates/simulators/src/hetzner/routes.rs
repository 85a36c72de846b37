//! The simulated Hetzner's URLs, statuses, pages, rate limit headers and error bodies.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use reeve_types::{Clock, Timestamp};
use serde_json::{Value, json};

use super::catalogue;
use super::order::{self, selects};
use super::world::{Server, Status, World};
use super::{Inner, READ_ONLY_TOKEN, TOKEN};

/// An error answer.
pub struct Refusal {
    status: u16,
    body: Value,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, body: json!({"error": {"code": code, "message": message, "details": null}}) }
    }
    /// 422 for one field.
    pub fn invalid(field: &str, problem: &str) -> Self {
        let details = json!({"fields": [{"name": field, "messages": [problem]}]});
        let message = format!("invalid input in field '{field}'");
        Self { status: 422, body: json!({"error": {"code": "invalid_input", "message": message, "details": details}}) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::from_u16(self.status).expect("a status"), Json(self.body)).into_response()
    }
}

type Answer = Result<Response, Refusal>;
type Sim = State<Arc<Inner>>;
type Params = Query<HashMap<String, String>>;

pub fn routes(inner: Arc<Inner>) -> Router {
    let api = Router::new()
        .route("/servers", get(servers).post(create))
        .route("/servers/{id}", get(server).put(modify).delete(delete))
        .route("/servers/{id}/actions/{action}", post(act))
        .route("/actions", get(actions))
        .route("/actions/{id}", get(action))
        .route("/ssh_keys", get(ssh_keys).post(create_ssh_key))
        .route("/ssh_keys/{id}", axum::routing::delete(delete_ssh_key))
        .route("/volumes", get(volumes))
        .route("/volumes/{id}", get(volume).put(modify_volume).delete(delete_volume))
        .route("/server_types", get(server_types))
        .route("/locations", get(locations))
        .route("/images", get(images))
        .route("/pricing", get(|| async { Json(catalogue::pricing()) }))
        .fallback(|| async { Refusal::new(404, "not_found", "path not found") })
        .method_not_allowed_fallback(|| async { Refusal::new(405, "method_not_allowed", "method not allowed") })
        .layer(middleware::from_fn_with_state(inner.clone(), admit))
        .with_state(inner);
    Router::new().nest("/v1", api)
}

/// Checks the token, takes the call out of the allowance and tells what is left of it.
async fn admit(State(inner): Sim, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let read_only = given == format!("Bearer {READ_ONLY_TOKEN}");
    if !read_only && given != format!("Bearer {TOKEN}") {
        return Refusal::new(401, "unauthorized", "unable to authenticate").into_response();
    }
    let now = inner.time.now();
    let (allowed, limit) = {
        let mut world = inner.world();
        (world.call(now), world.switches.calls_per_hour)
    };
    let mut response = match allowed {
        Err(_) => Refusal::new(429, "rate_limit_exceeded", "limit of requests per hour reached").into_response(),
        Ok(_) if read_only && request.method() != http::Method::GET => {
            Refusal::new(403, "token_readonly", "the token is only allowed to perform GET requests").into_response()
        }
        Ok(_) => next.run(request).await,
    };
    let left = allowed.unwrap_or(0);
    // Full again at, or, when there is nothing left, usable again at.
    let reset = match allowed {
        Ok(left) => now.as_secs() + (i64::from(limit) - left) * 3600 / i64::from(limit.max(1)),
        Err(seconds) => now.as_secs() + seconds,
    };
    for (name, value) in
        [("ratelimit-limit", i64::from(limit)), ("ratelimit-remaining", left), ("ratelimit-reset", reset)]
    {
        response.headers_mut().insert(name, HeaderValue::from(value));
    }
    response
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

/// One page of a list.
fn page(key: &str, items: Vec<Value>, params: &HashMap<String, String>) -> Answer {
    let number = |name: &str, or: usize| match params.get(name) {
        None => Ok(or),
        Some(text) => {
            text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| Refusal::invalid(name, "is no number"))
        }
    };
    let (page, per_page) = (number("page", 1)?, number("per_page", 25)?);
    if per_page > 50 {
        return Err(Refusal::invalid("per_page", "must be at most 50"));
    }
    let total = items.len();
    let last = total.div_ceil(per_page).max(1);
    let shown: Vec<Value> = items.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let pagination = json!({"page": page, "per_page": per_page, "previous_page": (page > 1).then(|| page - 1),
                            "next_page": (page < last).then(|| page + 1), "last_page": last, "total_entries": total});
    Ok(Json(json!({key: shown, "meta": {"pagination": pagination}})).into_response())
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::new(400, "json_error", "the request body is no JSON"))
}

fn find<'a>(world: &'a World, id: &str) -> Result<&'a Server, Refusal> {
    let missing = || Refusal::new(404, "not_found", "server not found");
    id.parse().ok().and_then(|id: u64| world.servers.get(&id)).ok_or_else(missing)
}

async fn servers(State(inner): Sim, Query(params): Params) -> Answer {
    let world = inner.world();
    let wanted = |server: &&Server| {
        params.get("name").is_none_or(|name| *name == server.name)
            && params.get("label_selector").is_none_or(|selector| selects(selector, &server.labels))
    };
    page("servers", world.servers.values().filter(wanted).map(|s| world.server(s)).collect(), &params)
}

async fn create(State(inner): Sim, body: Bytes) -> Answer {
    let now = inner.now();
    let mut world = inner.world();
    let body = parse(&body)?;
    let id = order::place(&mut world, &body, now)?;
    let action = world.act(id, "create_server", now);
    let server = world.servers.get(&id).cloned();
    let server = server.map(|server| world.server(&server));
    let with_keys = body.get("ssh_keys").and_then(Value::as_array).is_some_and(|keys| !keys.is_empty());
    let password = (!with_keys).then_some("simulated-once");
    let answer = json!({"server": server, "action": action, "next_actions": [], "root_password": password});
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn server(State(inner): Sim, Path(id): Path<String>) -> Answer {
    let world = inner.world();
    Ok(Json(json!({"server": world.server(find(&world, &id)?)})).into_response())
}

async fn modify(State(inner): Sim, Path(id): Path<String>, body: Bytes) -> Answer {
    let mut world = inner.world();
    let id = find(&world, &id)?.id;
    let body = parse(&body)?;
    let labels = order::labels(&body)?;
    if let Some(server) = world.servers.get_mut(&id) {
        if body.get("labels").is_some() {
            server.labels = labels;
        }
        if let Some(name) = body.get("name").and_then(Value::as_str) {
            server.name = name.to_owned();
        }
    }
    Ok(Json(json!({"server": world.server(find(&world, &id.to_string())?)})).into_response())
}

async fn delete(State(inner): Sim, Path(id): Path<String>) -> Answer {
    let now = inner.now();
    let mut world = inner.world();
    let server = find(&world, &id)?;
    if server.protected {
        return Err(Refusal::new(403, "protected", "server is protected against deletion"));
    }
    if server.status == Status::Deleting {
        return Err(Refusal::new(423, "locked", "server is locked"));
    }
    let id = server.id;
    Ok(Json(json!({"action": world.act(id, "delete_server", now)})).into_response())
}

async fn act(State(inner): Sim, Path((id, action)): Path<(String, String)>) -> Answer {
    let now = inner.now();
    let mut world = inner.world();
    let server = find(&world, &id)?;
    let command = match action.as_str() {
        "poweron" => "start_server",
        "poweroff" => "stop_server",
        "shutdown" => "shutdown_server",
        "reboot" => "reboot_server",
        "reset" => "reset_server",
        _ => return Err(Refusal::new(404, "not_found", "action not found")),
    };
    if matches!(server.status, Status::Initializing | Status::Deleting) {
        return Err(Refusal::new(423, "locked", "server is locked"));
    }
    let id = server.id;
    Ok((StatusCode::CREATED, Json(json!({"action": world.act(id, command, now)}))).into_response())
}

async fn actions(State(inner): Sim, request: Request) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let ids: Vec<u64> =
        query.split('&').filter_map(|p| p.strip_prefix("id=")).filter_map(|id| id.parse().ok()).collect();
    if ids.is_empty() || ids.len() > 25 {
        return Err(Refusal::invalid("id", "give 1 to 25 ids"));
    }
    let world = inner.world();
    let found = ids.iter().filter_map(|id| world.actions.get(id)).map(|a| world.action(a, inner.now())).collect();
    page("actions", found, &HashMap::new())
}

async fn action(State(inner): Sim, Path(id): Path<u64>) -> Answer {
    let world = inner.world();
    let action = world.actions.get(&id).ok_or_else(|| Refusal::new(404, "not_found", "action not found"))?;
    Ok(Json(json!({"action": world.action(action, inner.now())})).into_response())
}

fn ssh_key(id: u64, name: &str, content: &str, labels: &impl serde::Serialize) -> Value {
    json!({"id": id, "name": name, "public_key": content, "fingerprint": format!("{id:032x}"), "labels": labels,
           "created": "2026-03-01T12:00:00Z"})
}

async fn ssh_keys(State(inner): Sim, Query(params): Params) -> Answer {
    let world = inner.world();
    let named = world.ssh_keys.iter().filter(|(_, key)| params.get("name").is_none_or(|name| *name == key.0));
    page("ssh_keys", named.map(|(id, key)| ssh_key(*id, &key.0, &key.1, &key.2)).collect(), &params)
}

async fn create_ssh_key(State(inner): Sim, body: Bytes) -> Answer {
    let body = parse(&body)?;
    let get = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, content) = (get("name"), get("public_key"));
    if name.is_empty() {
        return Err(Refusal::invalid("name", "is missing"));
    }
    if !content.starts_with("ssh-") && !content.starts_with("ecdsa-") {
        return Err(Refusal::invalid("public_key", "is no OpenSSH public key"));
    }
    let labels = order::labels(&body)?;
    let blob = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let mut world = inner.world();
    if world.ssh_keys.values().any(|(known, line, _)| *known == name || blob(line) == blob(&content)) {
        return Err(Refusal::new(409, "uniqueness_error", "SSH key not unique"));
    }
    let id = world.number();
    let answer = ssh_key(id, &name, &content, &labels);
    world.ssh_keys.insert(id, (name, content, labels));
    Ok((StatusCode::CREATED, Json(json!({"ssh_key": answer}))).into_response())
}

async fn delete_ssh_key(State(inner): Sim, Path(id): Path<u64>) -> Answer {
    match inner.world().ssh_keys.remove(&id) {
        Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(Refusal::new(404, "not_found", "SSH key not found")),
    }
}

async fn volumes(State(inner): Sim, Query(params): Params) -> Answer {
    let world = inner.world();
    let wanted = world.volumes.values().filter(|v| params.get("label_selector").is_none_or(|s| selects(s, &v.labels)));
    page("volumes", wanted.map(|v| world.volume(v)).collect(), &params)
}

async fn volume(State(inner): Sim, Path(id): Path<u64>) -> Answer {
    let world = inner.world();
    let volume = world.volumes.get(&id).ok_or_else(|| Refusal::new(404, "not_found", "volume not found"))?;
    Ok(Json(json!({"volume": world.volume(volume)})).into_response())
}

async fn modify_volume(State(inner): Sim, Path(id): Path<u64>, body: Bytes) -> Answer {
    let labels = order::labels(&parse(&body)?)?;
    let mut world = inner.world();
    let volume = world.volumes.get_mut(&id).ok_or_else(|| Refusal::new(404, "not_found", "volume not found"))?;
    volume.labels = labels;
    let volume = volume.clone();
    Ok(Json(json!({"volume": world.volume(&volume)})).into_response())
}

async fn delete_volume(State(inner): Sim, Path(id): Path<u64>) -> Answer {
    let mut world = inner.world();
    match world.volumes.get(&id).map(|volume| volume.server) {
        None => Err(Refusal::new(404, "not_found", "volume not found")),
        Some(Some(_)) => Err(Refusal::new(423, "locked", "volume is attached to a server")),
        Some(None) => {
            world.volumes.remove(&id);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

async fn server_types(Query(params): Params) -> Answer {
    let named = catalogue::TYPES.iter().filter(|t| params.get("name").is_none_or(|name| name == t.1));
    page("server_types", named.map(catalogue::server_type).collect(), &params)
}

async fn locations(Query(params): Params) -> Answer {
    let named = catalogue::LOCATIONS.iter().filter(|l| params.get("name").is_none_or(|name| name == l.1));
    page("locations", named.map(catalogue::location).collect(), &params)
}

async fn images(Query(params): Params) -> Answer {
    let wanted = catalogue::IMAGES.iter().filter(|i| {
        params.get("name").is_none_or(|name| name == i.1) && params.get("architecture").is_none_or(|a| a == i.3)
    });
    page("images", wanted.map(catalogue::image).collect(), &params)
}
