//! What a handler gets: who asks, and the checked parts of the request.

use std::future::Future;

use futures::future::BoxFuture;
use http::HeaderMap;
use reeve_types::{Actor, Error, Page, Result, Sort};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::page;
use crate::reply::Reply;

/// One request, after authentication and contract.
#[derive(Debug)]
pub struct Call {
    /// Who asks. Its request context is filled in.
    pub actor: Actor,
    /// Path parameters, checked.
    pub path: Map<String, Value>,
    /// Query parameters, checked and typed, defaults filled in.
    pub query: Map<String, Value>,
    /// The body, checked; null where the operation has none.
    pub body: Value,
    /// The request's headers.
    pub headers: HeaderMap,
    /// Fires when the server drains: streams end then, and clients resume elsewhere or later.
    pub draining: CancellationToken,
}

impl Call {
    /// A path parameter as text; empty when the route has none of this name.
    pub fn param(&self, name: &str) -> &str {
        self.path.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The query as a DTO.
    ///
    /// # Errors
    /// Invalid when the DTO is narrower than the contract.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T> {
        dto(Value::Object(self.query.clone()))
    }

    /// The body as a DTO. The body is taken: a second call sees null.
    ///
    /// # Errors
    /// Invalid when the DTO is narrower than the contract.
    pub fn body<T: DeserializeOwned>(&mut self) -> Result<T> {
        dto(self.body.take())
    }

    /// `page` and `page_size`.
    pub fn page(&self) -> Page {
        page::page_of(&self.query)
    }

    /// `order_by` and `order_directions`.
    pub fn sort(&self) -> Vec<Sort> {
        page::sort_of(&self.query)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// `Last-Event-ID`, trimmed; None when absent or empty.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id").map(str::trim).filter(|id| !id.is_empty())
    }

    /// Whether the client names this media type in `Accept`. Without the header everything is fine.
    pub fn accepts(&self, media_type: &str) -> bool {
        match self.header("accept") {
            None => true,
            Some(accept) => accept.split(',').any(|item| {
                let item = item.split(';').next().unwrap_or_default().trim();
                item == "*/*" || item.eq_ignore_ascii_case(media_type)
            }),
        }
    }
}

fn dto<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|problem| {
        tracing::warn!(%problem, "a request passed the contract but not its DTO");
        Error::invalid("base", problem.to_string())
    })
}

/// An asynchronous function from state and call to a reply.
pub trait Handler<S>: Send + Sync + 'static {
    /// Runs the handler.
    fn call(&self, state: S, call: Call) -> BoxFuture<'static, Result<Reply>>;
}

impl<S, F, Fut> Handler<S> for F
where
    F: Fn(S, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply>> + Send + 'static,
{
    fn call(&self, state: S, call: Call) -> BoxFuture<'static, Result<Reply>> {
        Box::pin(self(state, call))
    }
}
