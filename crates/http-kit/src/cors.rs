//! Browsers from other origins: nobody unless configured, and the headers every answer carries.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Which origins may use the API from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    any_origin: bool,
    headers: Vec<HeaderName>,
    any_header: bool,
}

impl Cors {
    /// Reads lists as `CORS_ALLOWED_ORIGINS` and `CORS_ALLOWED_HEADERS` have them; `*` allows all. None without origins.
    ///
    /// # Errors
    /// The entry that is not an origin or a header name.
    pub fn new(origins: &[String], headers: &[String]) -> Result<Option<Self>, String> {
        let mut cors = Self { origins: Vec::new(), any_origin: false, headers: Vec::new(), any_header: false };
        for origin in origins {
            match origin.as_str() {
                "*" => cors.any_origin = true,
                text => cors.origins.push(HeaderValue::from_str(text).map_err(|_| format!("{text} is not an origin"))?),
            }
        }
        for header in headers {
            match header.as_str() {
                "*" => cors.any_header = true,
                text => cors
                    .headers
                    .push(HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text} is not a header name"))?),
            }
        }
        if headers.is_empty() {
            cors.headers = vec![
                AUTHORIZATION,
                CONTENT_TYPE,
                HeaderName::from_static("x-request-id"),
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
            ];
        }
        Ok((cors.any_origin || !cors.origins.is_empty()).then_some(cors))
    }

    pub(crate) fn layer(&self) -> CorsLayer {
        let origin = if self.any_origin { AllowOrigin::any() } else { AllowOrigin::list(self.origins.clone()) };
        let headers =
            if self.any_header { AllowHeaders::mirror_request() } else { AllowHeaders::list(self.headers.clone()) };
        CorsLayer::new()
            .allow_origin(origin)
            .allow_headers(headers)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .expose_headers([
                LOCATION,
                RETRY_AFTER,
                HeaderName::from_static("x-request-id"),
                HeaderName::from_static("x-next-offset"),
                HeaderName::from_static("idempotency-replayed"),
            ])
    }
}

/// What an answer may do in a browser.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Data: nothing at all.
    Data,
    /// Our own pages: scripts, styles and requests of the same origin only.
    Page,
}

/// Puts the security headers on an answer.
pub(crate) fn secure(headers: &mut HeaderMap, content: Content) {
    let policy = match content {
        Content::Data => "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        Content::Page => {
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        }
    };
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    if content == Content::Data {
        // Answers hold credentials of nodes.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
