//! The published OpenAPI document and Swagger UI, from files in the binary: `/api/openapi`, `/swaggerui`.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::contract::Contract;
use crate::cors::{Content, secure};

const INDEX: &str = include_str!("../assets/swagger-ui/index.html");
const START: &str = include_str!("../assets/swagger-ui/start.js");
/// Compressed: a megabyte and a half less in the binary and on the wire.
const BUNDLE: &[u8] = include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js.gz");
const STYLE: &[u8] = include_bytes!("../assets/swagger-ui/swagger-ui.css.gz");

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
        .route("/swaggerui/start.js", get(|| async { asset("text/javascript; charset=utf-8", Body::from(START)) }))
        .route(
            "/swaggerui/swagger-ui-bundle.js",
            get(|asked: HeaderMap| async move { gzipped("text/javascript; charset=utf-8", BUNDLE, &asked) }),
        )
        .route(
            "/swaggerui/swagger-ui.css",
            get(|asked: HeaderMap| async move { gzipped("text/css; charset=utf-8", STYLE, &asked) }),
        )
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

/// A file that lies gzipped in the binary, unpacked for clients that cannot.
fn gzipped(content_type: &'static str, bytes: &'static [u8], asked: &HeaderMap) -> Response {
    let understood = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(takes_gzip);
    let mut response = if understood {
        let mut response = asset(content_type, Body::from(bytes));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        let mut plain = Vec::new();
        match GzDecoder::new(bytes).read_to_end(&mut plain) {
            Ok(_) => asset(content_type, Body::from(plain)),
            Err(error) => {
                tracing::error!(%error, "a file in the binary cannot be unpacked");
                let mut response = page(content_type, Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return response;
            }
        }
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Whether an `Accept-Encoding` names gzip and does not refuse it.
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|item| {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0_f32));
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn asset(content_type: &'static str, body: Body) -> Response {
    let mut response = page(content_type, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
