//! The edge surface's envelope: `{"data","meta"}` and `{"error","meta"}` with its codes and messages.

use std::collections::BTreeMap;

use http::StatusCode;
use reeve_http_kit::envelope::UNANSWERED;
use reeve_http_kit::page::Pagination;
use reeve_http_kit::{Envelope, Fault, Meta};
use reeve_types::{Error, ErrorKind};
use serde::Serialize;

const DEGRADED: &str = "Cluster is in degraded mode (over capacity) — try again when capacity recovers";

/// The envelope of the edge API; the console's own API uses it too.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdgeEnvelope;

#[derive(Serialize)]
struct Failure<'a> {
    error: Problem<'a>,
    meta: Shown<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a BTreeMap<String, Vec<String>>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    request_id: &'a str,
    timestamp: String,
}

impl Envelope for EdgeEnvelope {
    fn data(&self, json: &str, pagination: Option<&Pagination>, meta: Meta<'_>) -> String {
        let (request_id, timestamp) = (meta.request_id, meta.now.rfc3339_micros());
        // Eight numbers and booleans: serialising them cannot fail.
        let pagination = pagination.map(|pagination| serde_json::to_string(pagination).unwrap_or_default());
        let mut text = String::with_capacity(json.len() + pagination.as_ref().map_or(0, String::len) + 160);
        text.extend([r#"{"data":"#, json, r#","meta":{"#]);
        if let Some(pagination) = &pagination {
            text.extend([r#""pagination":"#, pagination, ","]);
        }
        text.extend([r#""request_id":""#, request_id, r#"","timestamp":""#, &timestamp, r#""}}"#]);
        text
    }

    fn fault(&self, fault: &Fault, meta: Meta<'_>) -> (StatusCode, String) {
        let reused = BTreeMap::from([("Idempotency-Key".to_owned(), vec!["was used with another request".to_owned()])]);
        let none = BTreeMap::new();
        let too_large;
        let (status, code, message, details) = match fault {
            Fault::Refused(error) => refused(error),
            Fault::BadRequest(violations) => (400, "bad_request", "Invalid request parameters", violations),
            Fault::MalformedBody => (400, "bad_request", "Bad Request", &none),
            Fault::UnknownRoute | Fault::WrongMethod { .. } => (404, "not_found", "Resource not found", &none),
            Fault::UnsupportedMediaType => {
                (415, "unsupported_media_type", "The body must be JSON: set Content-Type to application/json", &none)
            }
            Fault::TooLarge { limit_bytes } => {
                too_large = format!("The body is larger than {limit_bytes} bytes");
                (413, "payload_too_large", too_large.as_str(), &none)
            }
            Fault::SlowBody => (408, "request_timeout", "The body did not arrive in time", &none),
            Fault::OverLimit { .. } => (429, "too_many_requests", "Too many requests", &none),
            Fault::Degraded => (503, "degraded_mode", DEGRADED, &none),
            Fault::TimedOut => (503, "service_unavailable", "Service Unavailable", &none),
            Fault::Panicked => (500, "internal_server_error", "Internal Server Error", &none),
            Fault::IdempotencyMismatch => (422, "validation_failed", "Validation failed", &reused),
            Fault::IdempotencyInProgress => {
                (409, "conflict", "the first request with this Idempotency-Key is still running", &none)
            }
            Fault::IdempotencyUnanswered => (409, "conflict", UNANSWERED, &none),
        };
        let failure = Failure {
            error: Problem { code, message, details: (!details.is_empty()).then_some(details) },
            meta: Shown { request_id: meta.request_id, timestamp: meta.now.rfc3339_micros() },
        };
        // Strings and maps of strings: serialising them cannot fail.
        let body = serde_json::to_string(&failure).unwrap_or_default();
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
    }
}

fn refused(error: &Error) -> (u16, &str, &str, &BTreeMap<String, Vec<String>>) {
    let (status, code, message) = match error.kind {
        ErrorKind::NotFound => (404, "not_found", "Resource not found"),
        ErrorKind::Invalid => (422, "validation_failed", "Validation failed"),
        ErrorKind::Conflict => (409, "conflict", error.message.as_str()),
        ErrorKind::Unauthenticated => (401, "unauthorized", "Unauthorized"),
        ErrorKind::Forbidden => (403, "forbidden", "Forbidden"),
        ErrorKind::TooMany => (429, "too_many_requests", error.message.as_str()),
        ErrorKind::Unavailable if error.reason == "degraded_mode" => (503, "degraded_mode", DEGRADED),
        ErrorKind::Unavailable => (503, "service_unavailable", error.message.as_str()),
        ErrorKind::Internal => (500, "internal_server_error", "Internal Server Error"),
    };
    (status, code, message, &error.details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::Timestamp;
    use serde_json::{Value, json};

    fn fault(fault: Fault) -> (u16, Value) {
        let (status, body) = EdgeEnvelope.fault(&fault, Meta { request_id: "r", now: Timestamp(1_000_000) });
        let mut body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["meta"].take(), json!({"request_id": "r", "timestamp": "1970-01-01T00:00:01.000000Z"}));
        (status.as_u16(), body["error"].take())
    }

    #[test]
    fn every_kind_of_refusal_has_its_code() {
        let table = [
            (Fault::from(Error::not_found("node")), 404, json!({"code": "not_found", "message": "Resource not found"})),
            (
                Error::invalid("name", "is reserved").into(),
                422,
                json!({"code": "validation_failed", "message": "Validation failed", "details": {"name": ["is reserved"]}}),
            ),
            (
                Error::conflict("name has already been taken").into(),
                409,
                json!({"code": "conflict", "message": "name has already been taken"}),
            ),
            (Error::unauthenticated("x").into(), 401, json!({"code": "unauthorized", "message": "Unauthorized"})),
            (Error::forbidden("x").into(), 403, json!({"code": "forbidden", "message": "Forbidden"})),
            (
                Error::unavailable("the node is not connected").into(),
                503,
                json!({"code": "service_unavailable", "message": "the node is not connected"}),
            ),
            (
                Error::unavailable("x").with_reason("degraded_mode").into(),
                503,
                json!({"code": "degraded_mode", "message": DEGRADED}),
            ),
            (
                Error::internal("disk on fire").into(),
                500,
                json!({"code": "internal_server_error", "message": "Internal Server Error"}),
            ),
            (Fault::MalformedBody, 400, json!({"code": "bad_request", "message": "Bad Request"})),
            (
                Fault::WrongMethod { allow: "GET".into() },
                404,
                json!({"code": "not_found", "message": "Resource not found"}),
            ),
        ];
        for (refusal, status, error) in table {
            assert_eq!(fault(refusal), (status, error));
        }
    }

    #[test]
    fn data_and_pages_are_wrapped() {
        let meta = Meta { request_id: "r", now: Timestamp(0) };
        let body: Value = serde_json::from_str(&EdgeEnvelope.data("[1]", None, meta)).unwrap();
        assert_eq!(body, json!({"data": [1], "meta": {"request_id": "r", "timestamp": "1970-01-01T00:00:00.000000Z"}}));
        let paged = reeve_types::Paged { items: vec![1], total: 1, page: Default::default() };
        let body: Value = serde_json::from_str(&EdgeEnvelope.data("[1]", Some(&Pagination::of(&paged)), meta)).unwrap();
        assert_eq!(body["meta"]["pagination"]["total_count"], 1);
    }
}
