//! One request from the socket to the answer, in a fixed order: request id, authentication, permission, limits, body,
//! contract, degraded gate, idempotency, handler. Whatever ends it leaves in the surface's envelope.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, RawPathParams, Request};
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reeve_types::access::{IdempotencyKey, Lookup, RequestContext, StoredReply};
use reeve_types::{Actor, Error, ErrorKind, Permission};
use tokio::time::{Instant, timeout};

use crate::auth::{Access, bearer};
use crate::call::{Call, Handler};
use crate::contract::{Operation, Refusal, Violations};
use crate::cors::{self, secure};
use crate::envelope::{Envelope, Fault, Meta};
use crate::idempotency::fingerprint;
use crate::measure::Measured;
use crate::reply::{Content, Reply};
use crate::sse;
use crate::surface::Kit;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The caller's socket address, as the listener saw it. A request extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// One operation bound to its handler, with the handler's state type forgotten.
pub(crate) trait Run: Send + Sync + 'static {
    fn method(&self) -> &Method;
    fn measured(&self) -> &Measured;
    fn run<'a>(&'a self, arrival: Arrival) -> BoxFuture<'a, Result<Reply, Fault>>;
}

/// A request as it arrived.
pub(crate) struct Arrival {
    request_id: String,
    parts: Parts,
    params: Option<RawPathParams>,
    body: Body,
}

/// Where a surface stands: what answers look like and where its root is.
pub(crate) struct Site {
    pub(crate) envelope: Arc<dyn Envelope>,
    pub(crate) kit: Kit,
    pub(crate) prefix: String,
}

impl Site {
    pub(crate) async fn serve(
        &self,
        runs: &[Arc<dyn Run>],
        params: Option<RawPathParams>,
        request: Request,
    ) -> Response {
        let started = Instant::now();
        let request_id = self.kit.ids.next();
        let (parts, body) = request.into_parts();
        let wanted = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let Some(run) = runs.iter().find(|run| run.method() == wanted) else {
            let allow: Vec<&str> = runs.iter().map(|run| run.method().as_str()).collect();
            return self.refuse(&Fault::WrongMethod { allow: allow.join(", ") }, &request_id);
        };
        let arrival = Arrival { request_id: request_id.clone(), parts, params, body };
        let response = match run.run(arrival).await {
            Ok(reply) => self.answer(reply, &request_id),
            Err(fault) => self.refuse(&fault, &request_id),
        };
        run.measured().record(response.status(), started.elapsed());
        response
    }

    pub(crate) fn unknown(&self, _request: Request) -> Response {
        self.refuse(&Fault::UnknownRoute, &self.kit.ids.next())
    }

    fn answer(&self, reply: Reply, request_id: &str) -> Response {
        let Reply { status, mut headers, content } = reply;
        if let Some(location) = headers.get_mut(LOCATION).filter(|_| !self.prefix.is_empty()) {
            let full = [self.prefix.as_bytes(), location.as_bytes()].concat();
            if let Ok(full) = HeaderValue::from_bytes(&full) {
                *location = full;
            }
        }
        let body = match content {
            Content::Empty => Body::empty(),
            Content::Data { json, pagination } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
                let meta = Meta { request_id, now: self.kit.clock.now() };
                Body::from(self.envelope.data(&json, pagination.as_ref(), meta))
            }
            Content::Raw { content_type, body } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
                body
            }
        };
        finish(status, headers, body, request_id)
    }

    fn refuse(&self, fault: &Fault, request_id: &str) -> Response {
        log(fault, request_id);
        let meta = Meta { request_id, now: self.kit.clock.now() };
        let (status, body) = self.envelope.fault(fault, meta);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(wait) = retry_after(fault) {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64));
        }
        if let Fault::WrongMethod { allow } = fault
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, allow);
        }
        finish(status, headers, Body::from(body), request_id)
    }
}

fn finish(status: StatusCode, given: HeaderMap, body: Body, request_id: &str) -> Response {
    // Copying what every answer has costs less than putting it together each time.
    static EVERY_ANSWER: LazyLock<HeaderMap> = LazyLock::new(|| {
        let mut headers = HeaderMap::with_capacity(16);
        secure(&mut headers, cors::Content::Data);
        headers
    });
    let mut headers = EVERY_ANSWER.clone();
    headers.extend(given);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn retry_after(fault: &Fault) -> Option<Duration> {
    match fault {
        Fault::OverLimit { retry_after } => Some(*retry_after),
        Fault::Refused(error) => error.retry_after_ms.map(Duration::from_millis),
        Fault::IdempotencyInProgress | Fault::TimedOut => Some(Duration::from_secs(1)),
        Fault::BadRequest(_)
        | Fault::MalformedBody
        | Fault::UnknownRoute
        | Fault::WrongMethod { .. }
        | Fault::UnsupportedMediaType
        | Fault::TooLarge { .. }
        | Fault::SlowBody
        | Fault::IdempotencyUnanswered
        | Fault::Degraded
        | Fault::Panicked
        | Fault::IdempotencyMismatch => None,
    }
}

fn log(fault: &Fault, request_id: &str) {
    match fault {
        Fault::Refused(error) if error.kind == ErrorKind::Internal => {
            tracing::error!(request_id, source = ?error.source, "request failed");
        }
        Fault::Refused(Error { source: Some(source), message, .. }) => {
            tracing::warn!(request_id, %source, message, "request refused")
        }
        Fault::Panicked => tracing::error!(request_id, "a handler panicked"),
        Fault::TimedOut => tracing::warn!(request_id, "a handler took too long"),
        _ => {}
    }
}

/// An operation, what it asks of its caller, and who answers it.
pub(crate) struct Endpoint<S> {
    operation: Arc<Operation>,
    access: Access,
    handler: Arc<dyn Handler<S>>,
    state: S,
    kit: Kit,
    measured: Measured,
}

impl<S: Clone + Send + Sync + 'static> Endpoint<S> {
    pub(crate) fn new(
        surface: &'static str,
        operation: Arc<Operation>,
        access: Access,
        handler: Arc<dyn Handler<S>>,
        state: S,
        kit: Kit,
    ) -> Self {
        let measured = Measured::new(surface, &operation.id);
        Self { operation, access, handler, state, kit, measured }
    }

    async fn handle(&self, arrival: Arrival) -> Result<Reply, Fault> {
        let Arrival { request_id, parts, params, body } = arrival;
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
        let mut actor = self.admit(&parts.headers, peer).await?;
        self.kit.limits.admit(&actor, peer)?;
        let body = self.read(&parts, body).await?;

        let params = params.ok_or_else(|| Fault::BadRequest(undecodable_path()))?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|q| q.0).unwrap_or_default();
        let checked =
            self.operation.check(params.iter(), query, &parts.headers, &body).map_err(|refusal| match refusal {
                Refusal::MalformedBody => Fault::MalformedBody,
                Refusal::Violations(violations) => Fault::BadRequest(violations),
            })?;
        if self.operation.degraded_gate && self.kit.degraded.load(Ordering::Relaxed) {
            return Err(Fault::Degraded);
        }
        let idempotency = self.idempotency_key(&parts, &actor, &body);
        // What is asked now and then while a stream goes out.
        let watched = match self.access {
            Access::Require(permission) if parts.method == Method::GET => {
                bearer(&parts.headers).map(|bearer| (bearer.to_owned(), permission))
            }
            Access::Require(_) | Access::Public => None,
        };
        let remote = peer.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        actor.request = RequestContext { request_id, remote, idempotency: idempotency.clone() };
        let call = Call {
            actor,
            path: checked.path,
            query: checked.query,
            body: checked.body,
            headers: parts.headers,
            draining: self.kit.draining.clone(),
        };
        let reply = match idempotency {
            None => self.act(call).await,
            Some(key) => self.act_once(call, &key).await,
        }?;
        Ok(match watched {
            Some((bearer, permission)) => self.while_allowed(reply, &bearer, permission),
            None => reply,
        })
    }

    /// A stream of events ends when its caller loses the right to it; other answers are as long as they are.
    fn while_allowed(&self, mut reply: Reply, bearer: &str, permission: Permission) -> Reply {
        if let Content::Raw { content_type: sse::CONTENT_TYPE, body } = &mut reply.content {
            let revoked = self.kit.authenticate.revoked(bearer, permission);
            let events = std::mem::take(body).into_data_stream().take_until(revoked);
            *body = Body::from_stream(events);
        }
        reply
    }

    async fn admit(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Actor, Fault> {
        let credential = bearer(headers);
        let known = match (credential, self.access) {
            (None, Access::Public) => None,
            (credential, _) => self.kit.authenticate.authenticate(credential, peer).await?,
        };
        match (known, self.access) {
            (Some(actor), Access::Public) => Ok(actor),
            (None, Access::Public) => Ok(Actor::anonymous()),
            (None, Access::Require(_)) => {
                self.kit.limits.admit_failure(peer)?;
                Err(Error::unauthenticated("Unauthorized").into())
            }
            (Some(actor), Access::Require(permission)) if actor.may(permission) => Ok(actor),
            (Some(_), Access::Require(permission)) => Err(Error::missing_permission(permission).into()),
        }
    }

    async fn read(&self, parts: &Parts, body: Body) -> Result<Bytes, Fault> {
        let limit_bytes = self.kit.body_limit_bytes;
        let declared =
            parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit_bytes as u64) {
            drain(body).await;
            return Err(Fault::TooLarge { limit_bytes });
        }
        // Most deletions have no body, and what a client sends along regardless is not looked at; some are described with one.
        let bodiless = parts.method == Method::DELETE && !self.operation.has_body();
        if bodiless || matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(Bytes::new());
        }
        let collected = timeout(self.kit.body_timeout, Limited::new(body, limit_bytes).collect())
            .await
            .map_err(|_| Fault::SlowBody)?;
        let bytes = match collected {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Fault::TooLarge { limit_bytes }),
            Err(_) => return Err(Fault::MalformedBody),
        };
        if self.operation.has_body() && !bytes.is_empty() && !is_json(&parts.headers) {
            return Err(Fault::UnsupportedMediaType);
        }
        Ok(bytes)
    }

    fn idempotency_key(&self, parts: &Parts, actor: &Actor, body: &[u8]) -> Option<IdempotencyKey> {
        if parts.method != Method::POST || self.kit.idempotency.is_none() {
            return None;
        }
        let key = parts.headers.get("idempotency-key")?.to_str().ok()?.to_owned();
        let fingerprint = fingerprint(&parts.method, parts.uri.path(), &actor.principal.label(), body);
        Some(IdempotencyKey { key, fingerprint })
    }

    async fn act(&self, call: Call) -> Result<Reply, Fault> {
        let handling = AssertUnwindSafe(async { self.handler.call(self.state.clone(), call).await }).catch_unwind();
        let mut handling = std::pin::pin!(handling);
        // Most reads need not wait for anything, and a timer costs more than they do.
        let result = match futures::poll!(handling.as_mut()) {
            Poll::Ready(result) => result,
            Poll::Pending => timeout(self.kit.handler_timeout, handling).await.map_err(|_| Fault::TimedOut)?,
        };
        match result {
            Err(_) => Err(Fault::Panicked),
            Ok(result) => result.map_err(Fault::Refused),
        }
    }

    async fn act_once(&self, call: Call, key: &IdempotencyKey) -> Result<Reply, Fault> {
        let Some(store) = &self.kit.idempotency else { return self.act(call).await };
        match store.lookup(&call.actor, key).await? {
            Lookup::Fresh => {}
            Lookup::Replay(stored) => return replay(stored),
            Lookup::InProgress => return Err(Fault::IdempotencyInProgress),
            Lookup::Unanswered => return Err(Fault::IdempotencyUnanswered),
            Lookup::Mismatch => return Err(Fault::IdempotencyMismatch),
        }
        let actor = call.actor.clone();
        let reply = self.act(call).await?;
        if let Some(stored) = keepable(&reply)
            && let Err(error) = store.complete(&actor, key, stored).await
        {
            tracing::error!(request_id = actor.request.request_id, %error, "an answer could not be kept for its idempotency key");
        }
        Ok(reply)
    }
}

impl<S: Clone + Send + Sync + 'static> Run for Endpoint<S> {
    fn method(&self) -> &Method {
        &self.operation.method
    }
    fn measured(&self) -> &Measured {
        &self.measured
    }
    fn run<'a>(&'a self, arrival: Arrival) -> BoxFuture<'a, Result<Reply, Fault>> {
        Box::pin(self.handle(arrival))
    }
}

/// Takes in a bounded part of a body nobody wants: a client that is still sending would see a reset connection instead of
/// the answer.
async fn drain(body: Body) {
    let discard = async {
        let mut body = Limited::new(body, 8 << 20);
        while let Some(Ok(_)) = body.frame().await {}
    };
    if timeout(Duration::from_secs(2), discard).await.is_err() {
        tracing::debug!("a body over the limit was cut off");
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(declared) = headers.get(CONTENT_TYPE) else { return true };
    let media_type =
        declared.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn undecodable_path() -> Violations {
    Violations::from([("path".to_owned(), vec!["Invalid format. Expected UTF-8".to_owned()])])
}

fn keepable(reply: &Reply) -> Option<StoredReply> {
    let body = match &reply.content {
        Content::Empty => String::new(),
        Content::Data { json, pagination: None } => json.clone(),
        Content::Data { pagination: Some(_), .. } | Content::Raw { .. } => return None,
    };
    let headers = reply
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    Some(StoredReply { status: reply.status.as_u16(), headers, body })
}

fn replay(stored: StoredReply) -> Result<Reply, Fault> {
    let status = StatusCode::from_u16(stored.status).map_err(Error::internal)?;
    let content =
        if stored.body.is_empty() { Content::Empty } else { Content::Data { json: stored.body, pagination: None } };
    let mut reply = Reply { status, headers: HeaderMap::new(), content };
    for (name, value) in stored.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
        reply = reply.with_header(name, &value)?;
    }
    Ok(reply.with_header(REPLAYED, "true")?)
}
