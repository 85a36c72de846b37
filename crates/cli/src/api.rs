//! The HTTP client of the console listener: credentials that renew themselves, pages that follow each other, and errors
//! that say what to do.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::context::Session;
use crate::failure::{Failure, Outcome, Refusal};
use crate::target::{Auth, Target};
use crate::tls;

/// The prefix of the edge surface under the console listener.
pub const EDGE: &str = "/edge/api/v1";
/// The prefix of the provisioning surface under the console listener.
pub const PROVISIONING: &str = "/provisioning/v1";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_PAGE: usize = 100;
const TRIES: u32 = 4;
/// Media types of answers that take as long as they take.
const EVENTS: &str = "text/event-stream";
const BYTES: &str = "application/octet-stream, application/json";

/// Query parameters of a request.
pub type Query = Vec<(&'static str, String)>;

/// A connection to one server.
pub struct Api {
    http: reqwest::Client,
    /// The base URL.
    pub url: String,
    auth: Mutex<Auth>,
    now: fn() -> Timestamp,
}

/// A list that was read page by page.
#[derive(Debug, Default)]
pub struct Listing {
    /// The rows.
    pub rows: Vec<Value>,
    /// How many the server has, where it says so.
    pub total: Option<u64>,
}

impl Api {
    /// A client for a target.
    pub fn new(target: &Target, now: fn() -> Timestamp) -> Outcome<Self> {
        let url = target.url.parse().map_err(|_| Failure::local(format!("'{}' is not a URL", target.url)))?;
        let http = tls::client(&url, target.ca_pem.as_deref(), target.insecure)?;
        Ok(Self { http, url: target.url.clone(), auth: Mutex::new(target.auth.clone()), now })
    }

    /// GET; the answer's `data`.
    pub async fn get(&self, path: &str, query: &Query) -> Outcome<Value> {
        Ok(data(self.call(Method::GET, path, query, None).await?))
    }

    /// POST with an idempotency key, so that a lost answer can be asked for again; the answer's `data`.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        Ok(data(self.call(Method::POST, path, &Vec::new(), Some(body)).await?))
    }

    /// PATCH; the answer's `data`.
    pub async fn patch(&self, path: &str, body: &Value) -> Outcome<Value> {
        Ok(data(self.call(Method::PATCH, path, &Vec::new(), Some(body)).await?))
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Outcome<()> {
        self.call(Method::DELETE, path, &Vec::new(), None).await.map(drop)
    }

    /// Reads at most `limit` rows (0: all), page by page.
    pub async fn list(&self, path: &str, query: &Query, limit: usize) -> Outcome<Listing> {
        let page_size = if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) };
        let mut listing = Listing::default();
        let mut page = 1;
        loop {
            let mut query = query.clone();
            query.push(("page", page.to_string()));
            query.push(("page_size", page_size.to_string()));
            let mut answer = self.call(Method::GET, path, &query, None).await?;
            listing.total = answer.pointer("/meta/pagination/total_count").and_then(Value::as_u64).or(listing.total);
            let more = answer.pointer("/meta/pagination/has_next").and_then(Value::as_bool).unwrap_or(false);
            let Some(Value::Array(rows)) = answer.get_mut("data").map(Value::take) else {
                return Err(self.not_reeve(path));
            };
            let empty = rows.is_empty();
            for row in rows {
                // A row that was added meanwhile moves the others to the next page: show each once.
                let id = row.get("id");
                if id.is_none() || !listing.rows.iter().rev().take(MAX_PAGE).any(|seen| seen.get("id") == id) {
                    listing.rows.push(row);
                }
            }
            if limit > 0 && listing.rows.len() >= limit {
                listing.rows.truncate(limit);
                break;
            }
            if !more || empty {
                break;
            }
            page += 1;
        }
        Ok(listing)
    }

    /// Reads a short list, which the server does not divide into pages unless it says so.
    pub async fn list_plain(&self, path: &str) -> Outcome<Listing> {
        let mut answer = self.call(Method::GET, path, &Query::new(), None).await?;
        if answer.pointer("/meta/pagination/has_next").and_then(Value::as_bool).unwrap_or(false) {
            return self.list(path, &Query::new(), 0).await;
        }
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(rows)) => Ok(Listing { rows, total: None }),
            _ => Err(self.not_reeve(path)),
        }
    }

    /// Reads a list that is a bare array, whole.
    pub async fn rows(&self, path: &str, query: &Query) -> Outcome<Listing> {
        match self.call(Method::GET, path, query, None).await? {
            Value::Array(rows) => Ok(Listing { rows, total: None }),
            _ => Err(self.not_reeve(path)),
        }
    }

    /// The newest `limit` rows (0: all) of a list that is a bare array with the oldest first, in that order.
    pub async fn newest(&self, path: &str, query: &Query, limit: usize) -> Outcome<Listing> {
        let mut listing = self.rows(path, query).await?;
        let total = listing.rows.len();
        if limit > 0 && total > limit {
            listing.rows.drain(..total - limit);
        }
        listing.total = Some(total as u64);
        Ok(listing)
    }

    /// Text of a GET together with the answer's headers.
    pub async fn text(&self, path: &str, query: &Query) -> Outcome<(String, HeaderMap)> {
        let response =
            self.send(Method::GET, path, query, None, &[(ACCEPT.as_str(), "text/plain, application/json")]).await?;
        let response = self.refused(response, "GET", path).await?;
        let headers = response.headers().clone();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), headers))
    }

    /// Opens a stream of bytes that a POST is answered with, however long it takes.
    pub async fn download(&self, path: &str, body: &Value) -> Outcome<Response> {
        let accept = [(ACCEPT.as_str(), BYTES)];
        let response = self.send(Method::POST, path, &Query::new(), Some(body), &accept).await?;
        self.refused(response, "POST", path).await
    }

    /// Opens an event stream, after an event id if one is known.
    pub async fn stream(&self, path: &str, query: &Query, last_event_id: Option<&str>) -> Outcome<Response> {
        let mut headers = vec![(ACCEPT.as_str(), EVENTS)];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        let response = self.send(Method::GET, path, query, None, &headers).await?;
        self.refused(response, "GET", path).await
    }

    /// The whole answer of a request as JSON; `null` for one without a body.
    pub async fn call(&self, method: Method, path: &str, query: &Query, body: Option<&Value>) -> Outcome<Value> {
        let response = self.send(method.clone(), path, query, body, &[(ACCEPT.as_str(), "application/json")]).await?;
        let response = self.refused(response, method.as_str(), path).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| self.not_reeve(path))
    }

    /// Sends a request: renews credentials, repeats what may be repeated.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Outcome<Response> {
        #[allow(clippy::disallowed_methods)] // A key only has to differ from every other; nobody reproduces it.
        let key = (method == Method::POST).then(|| Uuid::new_v4().to_string());
        let streaming = headers.iter().any(|(_, value)| [EVENTS, BYTES].contains(value));
        // A stream is taken up again by its reader, who knows where.
        let repeatable = !streaming && matches!(method, Method::GET | Method::POST);
        let mut url: reqwest::Url = format!("{}{path}", self.url).parse().map_err(|_| self.not_reeve(path))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let bearer = self.bearer().await?;
            let mut request = self.http.request(method.clone(), url.clone());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if !streaming {
                request = request.timeout(REQUEST_TIMEOUT);
            }
            if let Some(bearer) = &bearer {
                request = request.bearer_auth(bearer);
            }
            if let Some(key) = &key {
                request = request.header("idempotency-key", key);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = match request.send().await {
                Ok(response) => response,
                // The answer was lost on the way. What may be asked again: a GET, and a POST by its idempotency key.
                Err(error)
                    if repeatable
                        && !error.is_connect()
                        && !error.is_timeout()
                        && !error.is_builder()
                        && attempt < TRIES =>
                {
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            match response.status() {
                StatusCode::UNAUTHORIZED if !renewed && self.renew(bearer.as_deref()).await? => renewed = true,
                StatusCode::TOO_MANY_REQUESTS if attempt < TRIES => {
                    tokio::time::sleep(retry_after(response.headers())).await;
                }
                _ => return Ok(response),
            }
        }
    }

    async fn bearer(&self) -> Outcome<Option<String>> {
        let mut auth = self.auth.lock().await;
        if let Auth::Session { session, .. } = &*auth
            && !session.is_fresh((self.now)())
        {
            self.renew_session(&mut auth).await?;
        }
        Ok(match &*auth {
            Auth::Nobody => None,
            Auth::Token(token) => Some(token.clone()),
            Auth::Session { session, .. } => Some(session.access_token.clone()),
        })
    }

    /// After a 401: renews the login unless that already happened; false when there is nothing to renew.
    async fn renew(&self, used: Option<&str>) -> Outcome<bool> {
        let mut auth = self.auth.lock().await;
        match &*auth {
            Auth::Nobody | Auth::Token(_) => return Ok(false),
            Auth::Session { session, .. } if Some(session.access_token.as_str()) != used => {
                return Ok(true);
            }
            Auth::Session { .. } => {}
        }
        self.renew_session(&mut auth).await?;
        Ok(true)
    }

    /// Swaps the refresh token for new tokens. It is good for one use, so only one command at a time may spend it: under
    /// the lock of the context's file, after a look whether another command has already done it.
    async fn renew_session(&self, auth: &mut Auth) -> Outcome<()> {
        let Auth::Session { store, context, session } = auth else {
            return Ok(());
        };
        let locked = store.lock().await?;
        let mut contexts = locked.read()?;
        let stored = contexts.contexts.get(context).and_then(|context| context.session.clone());
        let stored = stored.ok_or_else(|| self.expired())?;
        let now = (self.now)();
        if stored.access_token != session.access_token && stored.is_fresh(now) {
            *session = stored;
            return Ok(());
        }
        if stored.is_over(now) {
            return Err(self.expired());
        }
        let path = "/api/auth/refresh";
        let request = self.http.post(format!("{}{path}", self.url)).timeout(REQUEST_TIMEOUT);
        let response = request.json(&json!({"refresh_token": stored.refresh_token})).send().await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.expired());
        }
        let response = self.refused(response, "POST", path).await?;
        let answer: Value = response.json().await.map_err(|_| self.not_reeve(path))?;
        let renewed = login_session(&data(answer)).ok_or_else(|| self.not_reeve(path))?;
        if let Some(entry) = contexts.contexts.get_mut(context) {
            entry.session = Some(renewed.clone());
        }
        locked.write(&contexts)?;
        *session = renewed;
        Ok(())
    }

    fn expired(&self) -> Failure {
        Failure::Refused(Box::new(Refusal {
            status: 401,
            code: "unauthorized".to_owned(),
            message: "the login has expired".to_owned(),
            details: Value::Null,
            request_id: None,
            request: "POST /api/auth/refresh".to_owned(),
            url: self.url.clone(),
            had_credentials: true,
        }))
    }

    /// The response if it is a success, else the error in it.
    async fn refused(&self, response: Response, method: &str, path: &str) -> Outcome<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let permission =
            response.headers().get("x-required-permission").and_then(|name| name.to_str().ok()).map(str::to_owned);
        let had_credentials = !matches!(&*self.auth.lock().await, Auth::Nobody);
        let bytes = response.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        // The provisioning surface says it flat: `error` is the code, the rest stands beside it.
        let flat = body.get("error").is_some_and(Value::is_string);
        let error = if flat { body.clone() } else { body.get("error").cloned().unwrap_or_default() };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Err(Failure::Refused(Box::new(Refusal {
            status: status.as_u16(),
            code: text(&error, if flat { "error" } else { "code" }).unwrap_or_else(|| "http".to_owned()).to_lowercase(),
            message: text(&error, "message").unwrap_or_else(|| status.canonical_reason().unwrap_or("error").to_owned()),
            details: match permission {
                Some(permission) => json!({ "permission": permission }),
                None => error.get("details").cloned().unwrap_or_default(),
            },
            request_id: body.get("meta").and_then(|meta| text(meta, "request_id")),
            request: format!("{method} {path}"),
            url: self.url.clone(),
            had_credentials,
        })))
    }

    fn not_reeve(&self, path: &str) -> Failure {
        Failure::local_with(
            format!("{}{path} gave an answer that is not Reeve's", self.url),
            "give the URL of the console listener (by default port 7400)",
        )
    }

    /// A failure to reach the server, in words.
    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut causes = Vec::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        let text = causes.join(": ");
        let lower = text.to_lowercase();
        let (why, next) = if lower.contains("refused") {
            (
                "connection refused".to_owned(),
                "is `reeve up` running there? `reeve context list` shows which URLs you use".to_owned(),
            )
        } else if lower.contains("certificate") || lower.contains("unknownissuer") {
            (
                "its certificate is not trusted".to_owned(),
                "give the server's certificate with --ca FILE (or --insecure, to check nothing)".to_owned(),
            )
        } else if lower.contains("invalidcontenttype") || lower.contains("corrupt message") {
            (
                "it does not speak TLS".to_owned(),
                format!("write {} if it serves plain HTTP", self.url.replacen("https:", "http:", 1)),
            )
        } else if lower.contains("dns") || lower.contains("lookup") {
            (
                "the host name is not known".to_owned(),
                "check the URL; `reeve context show` prints the one in use".to_owned(),
            )
        } else if error.is_timeout() || lower.contains("timed out") {
            ("no answer in time".to_owned(), "check the network and that the server is running".to_owned())
        } else {
            let last = causes.pop().unwrap_or_else(|| error.to_string());
            (last, "check the URL and that the server is running; `reeve doctor` tries the connection".to_owned())
        };
        Failure::Unreachable { url: self.url.clone(), why, next }
    }
}

/// The tokens in a login's answer.
pub fn login_session(answer: &Value) -> Option<Session> {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Session {
        access_token: text("access_token")?,
        access_expires_at: answer.get("access_expires_at").cloned().unwrap_or_default(),
        refresh_token: text("refresh_token")?,
        refresh_expires_at: answer.get("refresh_expires_at").cloned().unwrap_or_default(),
    })
}

fn data(mut answer: Value) -> Value {
    match answer.get_mut("data") {
        Some(data) => data.take(),
        None => answer,
    }
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u64>().ok());
    Duration::from_secs(seconds.unwrap_or(1).min(10))
}
