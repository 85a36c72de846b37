//! The published OpenAPI document and Swagger UI, from files in the binary: `/api/openapi`, `/swaggerui`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::contract::Contract;
use crate::cors::{Content, secure};

const INDEX: &str = include_str!("../assets/swagger-ui/index.html");
const START: &str = include_str!("../assets/swagger-ui/start.js");
const BUNDLE: &[u8] = include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js");
const STYLE: &[u8] = include_bytes!("../assets/swagger-ui/swagger-ui.css");

/// The documentation routes of a surface; closed ones answer 404 without envelope, as clients of the original expect.
pub(crate) fn router(contract: &Arc<Contract>, prefix: &str, open: bool) -> Router {
    if !open {
        return ["/api/openapi", "/swaggerui", "/swaggerui/{*file}"]
            .into_iter()
            .fold(Router::new(), |router, path| router.route(path, get(closed)));
    }
    let document = contract.published(prefix);
    Router::new()
        .route(
            "/api/openapi",
            get(move || async move { page("application/json; charset=utf-8", Body::from(document)) }),
        )
        .route("/swaggerui", get(|| async { page("text/html; charset=utf-8", Body::from(INDEX)) }))
        .route("/swaggerui/start.js", get(|| async { asset("text/javascript; charset=utf-8", START.as_bytes()) }))
        .route("/swaggerui/swagger-ui-bundle.js", get(|| async { asset("text/javascript; charset=utf-8", BUNDLE) }))
        .route("/swaggerui/swagger-ui.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
}

async fn closed() -> Response {
    let mut response = page("application/json; charset=utf-8", Body::from(r#"{"errors":{"detail":"Not Found"}}"#));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn page(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    secure(response.headers_mut(), Content::Page);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn asset(content_type: &'static str, bytes: &'static [u8]) -> Response {
    let mut response = page(content_type, Body::from(bytes));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
