//! A door before somebody else's simulator, so that trouble can be made there too.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use crate::front::Front;
use crate::time::SimulatedTime;

/// Passes calls on to another server.
pub struct Proxy {
    /// Where to call, and how to make trouble.
    pub front: Front,
}

#[derive(Clone)]
struct Upstream {
    url: String,
    client: reqwest::Client,
}

impl Proxy {
    /// A door before `upstream` (`http://127.0.0.1:PORT`).
    pub async fn before(upstream: &str, time: Arc<SimulatedTime>) -> io::Result<Self> {
        // An error only says that somebody installed a provider before; there is only one in the tree.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let upstream = Upstream { url: upstream.trim_end_matches('/').to_owned(), client };
        let routes = Router::new().fallback(pass).with_state(upstream);
        Ok(Self { front: Front::open(([127, 0, 0, 1], 0).into(), routes, time).await? })
    }
}

async fn pass(
    State(upstream): State<Upstream>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    headers.remove(header::CONTENT_LENGTH);
    let request = upstream.client.request(method, format!("{}{uri}", upstream.url)).headers(headers).body(body);
    match request.send().await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
                response = response.header(header::CONTENT_TYPE, kind);
            }
            let body = answer.bytes().await.unwrap_or_default();
            response.body(Body::from(body)).expect("a response from a response")
        }
        Err(error) => {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
