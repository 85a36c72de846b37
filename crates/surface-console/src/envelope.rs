//! The console's envelope: `{"data","meta"}` and `{"error","meta"}`. Unlike the edge surface's it says what is missing.

use std::collections::BTreeMap;

use http::StatusCode;
use reeve_http_kit::envelope::UNANSWERED;
use reeve_http_kit::page::Pagination;
use reeve_http_kit::{Envelope, Fault, Meta};
use reeve_types::{Error, ErrorKind};
use serde_json::json;

/// The envelope of the console's own API.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleEnvelope;

impl Envelope for ConsoleEnvelope {
    fn data(&self, json: &str, pagination: Option<&Pagination>, meta: Meta<'_>) -> String {
        let mut shown = shown(meta);
        if let (Some(pagination), Some(object)) = (pagination, shown.as_object_mut()) {
            object.insert("pagination".to_owned(), json!(pagination));
        }
        format!(r#"{{"data":{json},"meta":{shown}}}"#)
    }

    fn fault(&self, fault: &Fault, meta: Meta<'_>) -> (StatusCode, String) {
        let none = BTreeMap::new();
        let too_large;
        let (status, code, message, details) = match fault {
            Fault::Refused(error) => refused(error),
            Fault::BadRequest(violations) => (400, "bad_request", "Invalid request parameters", violations),
            Fault::MalformedBody => (400, "bad_request", "The body is not JSON", &none),
            Fault::UnknownRoute => (404, "not_found", "There is no such route", &none),
            Fault::WrongMethod { .. } => (405, "method_not_allowed", "The route has other methods", &none),
            Fault::UnsupportedMediaType => {
                (415, "unsupported_media_type", "The body must be JSON: set Content-Type to application/json", &none)
            }
            Fault::TooLarge { limit_bytes } => {
                too_large = format!("The body is larger than {limit_bytes} bytes");
                (413, "payload_too_large", too_large.as_str(), &none)
            }
            Fault::SlowBody => (408, "request_timeout", "The body did not arrive in time", &none),
            Fault::OverLimit { .. } => (429, "too_many_requests", "Too many requests", &none),
            Fault::Degraded => (503, "degraded_mode", "There are more nodes than capacity", &none),
            Fault::TimedOut => (503, "service_unavailable", "The server took too long", &none),
            Fault::Panicked => (500, "internal_server_error", "Internal Server Error", &none),
            Fault::IdempotencyMismatch => {
                (422, "idempotency_key_reused", "This Idempotency-Key was used with another request", &none)
            }
            Fault::IdempotencyInProgress => {
                (409, "conflict", "the first request with this Idempotency-Key is still running", &none)
            }
            Fault::IdempotencyUnanswered => (409, "idempotency_answer_lost", UNANSWERED, &none),
        };
        let mut error = json!({ "code": code, "message": message });
        if let (false, Some(object)) = (details.is_empty(), error.as_object_mut()) {
            object.insert("details".to_owned(), json!(details));
        }
        let body = json!({ "error": error, "meta": shown(meta) });
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body.to_string())
    }
}

fn shown(meta: Meta<'_>) -> serde_json::Value {
    json!({ "request_id": meta.request_id, "timestamp": meta.now.rfc3339_micros() })
}

fn refused(error: &Error) -> (u16, &str, &str, &BTreeMap<String, Vec<String>>) {
    let message = error.message.as_str();
    let (status, code) = match error.kind {
        ErrorKind::NotFound => (404, "not_found"),
        ErrorKind::Invalid => (422, "validation_failed"),
        ErrorKind::Conflict => (409, "conflict"),
        ErrorKind::Unauthenticated => (401, "unauthorized"),
        ErrorKind::Forbidden => (403, "forbidden"),
        ErrorKind::TooMany => (429, "too_many_requests"),
        ErrorKind::Unavailable => (503, "service_unavailable"),
        ErrorKind::Internal => return (500, "internal_server_error", "Internal Server Error", &error.details),
    };
    (status, code, message, &error.details)
}
