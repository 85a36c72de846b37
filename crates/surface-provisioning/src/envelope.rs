//! The provisioning surface's envelope: data as it is, refusals as `{"error", "message", "code"}` with `code` a string.

use std::collections::BTreeMap;

use http::StatusCode;
use reeve_http_kit::envelope::UNANSWERED;
use reeve_http_kit::page::Pagination;
use reeve_http_kit::{Envelope, Fault, Meta};
use reeve_types::{Error, ErrorKind};
use serde::Serialize;

/// The envelope of the provisioning API.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProvisioningEnvelope;

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
    message: &'a str,
    code: String,
}

impl Envelope for ProvisioningEnvelope {
    fn data(&self, json: &str, _: Option<&Pagination>, _: Meta<'_>) -> String {
        json.to_owned()
    }

    fn fault(&self, fault: &Fault, _: Meta<'_>) -> (StatusCode, String) {
        let text;
        let (status, error, message) = match fault {
            Fault::Refused(error) => {
                let (status, word) = refused(error);
                text = said(error);
                (status, word, text.as_str())
            }
            Fault::BadRequest(violations) => {
                text = fields(violations);
                (400, "VALIDATION_ERROR", text.as_str())
            }
            Fault::MalformedBody => (400, "BAD_REQUEST", "The body is not JSON"),
            Fault::UnsupportedMediaType => {
                (400, "BAD_REQUEST", "The body must be JSON: set Content-Type to application/json")
            }
            Fault::TooLarge { limit_bytes } => {
                text = format!("The body is larger than {limit_bytes} bytes");
                (400, "BAD_REQUEST", text.as_str())
            }
            Fault::SlowBody => (400, "BAD_REQUEST", "The body did not arrive in time"),
            Fault::UnknownRoute => (404, "NOT_FOUND", "There is no such route"),
            Fault::WrongMethod { allow } => {
                text = format!("This route has other methods: {allow}");
                (404, "NOT_FOUND", text.as_str())
            }
            Fault::OverLimit { .. } => (429, "TOO_MANY_REQUESTS", "Too many requests"),
            Fault::Degraded => (503, "SERVICE_UNAVAILABLE", "There are more nodes than capacity"),
            Fault::TimedOut => (503, "SERVICE_UNAVAILABLE", "The server took too long"),
            Fault::Panicked => (500, "INTERNAL_ERROR", "Internal server error"),
            Fault::IdempotencyMismatch => {
                (400, "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was used with another request")
            }
            Fault::IdempotencyInProgress => {
                (409, "CONFLICT", "The first request with this Idempotency-Key is still running")
            }
            Fault::IdempotencyUnanswered => (409, "IDEMPOTENCY_ANSWER_LOST", UNANSWERED),
        };
        // Three strings: serialising them cannot fail.
        let body = serde_json::to_string(&Failure { error, message, code: status.to_string() }).unwrap_or_default();
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
    }
}

fn refused(error: &Error) -> (u16, &'static str) {
    match error.kind {
        ErrorKind::NotFound => (404, "NOT_FOUND"),
        ErrorKind::Invalid => (400, "VALIDATION_ERROR"),
        ErrorKind::Conflict => (409, "CONFLICT"),
        ErrorKind::Unauthenticated => (401, "UNAUTHORIZED"),
        ErrorKind::Forbidden => (403, "FORBIDDEN"),
        ErrorKind::TooMany => (429, "TOO_MANY_REQUESTS"),
        ErrorKind::Unavailable => (503, "SERVICE_UNAVAILABLE"),
        ErrorKind::Internal => (500, "INTERNAL_ERROR"),
    }
}

/// The message; what is wrong with which field, where that is known.
fn said(error: &Error) -> String {
    match error.kind {
        ErrorKind::Internal => "Internal server error".to_owned(),
        ErrorKind::Invalid if !error.details.is_empty() => fields(&error.details),
        _ => error.message.clone(),
    }
}

fn fields(details: &BTreeMap<String, Vec<String>>) -> String {
    let lines: Vec<String> =
        details.iter().map(|(field, problems)| format!("{field}: {}", problems.join(", "))).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::Timestamp;
    use serde_json::{Value, json};

    fn fault(fault: Fault) -> (u16, Value) {
        let (status, body) = ProvisioningEnvelope.fault(&fault, Meta { request_id: "r", now: Timestamp(0) });
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    #[test]
    fn the_code_is_text_and_the_error_a_word() {
        let table = [
            (
                Fault::from(Error::not_found("server")),
                404,
                json!({"error": "NOT_FOUND", "message": Error::not_found("server").message, "code": "404"}),
            ),
            (
                Error::invalid("hostname", "is empty").into(),
                400,
                json!({"error": "VALIDATION_ERROR", "message": "hostname: is empty", "code": "400"}),
            ),
            (
                Error::internal("disk on fire").into(),
                500,
                json!({"error": "INTERNAL_ERROR", "message": "Internal server error", "code": "500"}),
            ),
            (
                Fault::UnsupportedMediaType,
                400,
                json!({"error": "BAD_REQUEST", "message": "The body must be JSON: set Content-Type to application/json", "code": "400"}),
            ),
            (
                Fault::WrongMethod { allow: "GET".to_owned() },
                404,
                json!({"error": "NOT_FOUND", "message": "This route has other methods: GET", "code": "404"}),
            ),
        ];
        for (refusal, status, body) in table {
            assert_eq!(fault(refusal), (status, body));
        }
    }
}
