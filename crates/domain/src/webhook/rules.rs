//! The rules of webhooks that need no database.

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_types::{DeliveryId, Error, EventId, Result, Secret, Timestamp, WebhookId};
use sha2::{Digest, Sha256};

use crate::event;

const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=256;
/// Set by the server, or a matter of the connection.
const RESERVED: &[&str] = &[
    "x-edge-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// The types, each once, in the order given.
pub(super) fn events(kinds: Vec<String>) -> Result<Vec<String>> {
    let mut once: Vec<String> = Vec::with_capacity(kinds.len());
    for kind in kinds {
        if !event::is_known(&kind) {
            let known = "see /api/v1/event_types for those there are";
            return Err(Error::invalid("subscribed_events", format!("`{kind}` is not an event type; {known}")));
        }
        if !once.contains(&kind) {
            once.push(kind);
        }
    }
    Ok(once)
}

pub(super) fn secret(secret: &Secret) -> Result<()> {
    match SECRET_BYTES.contains(&secret.expose().len()) {
        true => Ok(()),
        false => Err(Error::invalid("secret", "must be 32 to 256 bytes long")),
    }
}

/// Names must be header names that are not ours, values what a header can carry.
pub(super) fn headers(headers: &BTreeMap<String, String>) -> Result<()> {
    let mut error: Option<Error> = None;
    let mut bad = |name: &str, problem: &str| {
        let line = format!("`{name}` {problem}");
        error = Some(match error.take() {
            None => Error::invalid("headers", line),
            Some(error) => error.with_detail("headers", line),
        });
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
            bad(name, "is not a header name");
        } else if RESERVED.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            bad(name, "is set by the server");
        } else if seen.contains(&lower) {
            bad(name, "is given twice");
        } else if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            bad(name, "has a value with control characters");
        }
        seen.push(lower);
    }
    error.map_or(Ok(()), Err)
}

/// The host in a URL that was checked, for the audit log: the rest may be secret.
pub(super) fn host_of(url: &str) -> &str {
    url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default()
}

/// The id of the delivery of an event: the same whenever and by whomever it is made, in the form of a UUIDv7 that sorts by
/// the event's time.
pub(super) fn delivery_id(webhook: &WebhookId, event: &EventId, at: Timestamp) -> DeliveryId {
    let digest = Sha256::digest(format!("reeve.delivery\0{webhook}\0{event}").as_bytes());
    let mut rest = [0u8; 10];
    rest.copy_from_slice(&digest[..10]);
    DeliveryId(sorted_uuid(at, rest))
}

/// What sorts before the ids of all deliveries of events since `at`.
pub(super) fn first_id(at: Timestamp) -> String {
    sorted_uuid(at, [0; 10])
}

fn sorted_uuid(at: Timestamp, rest: [u8; 10]) -> String {
    let ms = u64::try_from(at.0 / 1000).unwrap_or_default() & 0xffff_ffff_ffff;
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&rest);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The pause after the attempt number `tries` (from 1), in milliseconds, spread by a fifth in both directions so that what
/// failed together does not come back together. `chance` is any number.
pub(super) fn pause_ms(pauses: &[Duration], tries: i64, chance: u16) -> i64 {
    let index = usize::try_from(tries - 1).unwrap_or_default().min(pauses.len().saturating_sub(1));
    let pause = pauses.get(index).map_or(1_000, |pause| pause.as_millis() as i64);
    let spread = pause * 2 / 5;
    pause - spread / 2 + spread * i64::from(chance) / i64::from(u16::MAX)
}

/// Longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER_MS: i64 = 24 * 3_600_000;

/// Reads `Retry-After`: seconds, or a date in one of the three forms of HTTP. Milliseconds from `now`, at most a day.
pub(super) fn retry_after_ms(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    let ms = match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1000)?,
        Err(_) => http_date(text)?.ms_since(now),
    };
    Some(ms.clamp(0, LONGEST_RETRY_AFTER_MS))
}

fn http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let at = FORMS.iter().find_map(|form| jiff::civil::DateTime::strptime(form, text).ok())?;
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_deliveries_are_stable_and_in_order() {
        let at = Timestamp(1_770_000_000_123_456);
        let id = delivery_id(&"w".into(), &"e".into(), at);
        assert!(reeve_types::id::is_uuid(id.as_str()), "{id}");
        assert_eq!(reeve_types::id::uuid_time(id.as_str()), Some(Timestamp(1_770_000_000_123_000)));
        assert_eq!(id, delivery_id(&"w".into(), &"e".into(), at));
        assert_ne!(id, delivery_id(&"w".into(), &"f".into(), at));
        assert!(first_id(at).as_str() <= id.as_str() && id.as_str() < first_id(at.plus_ms(1)).as_str());
    }

    #[test]
    fn pauses_grow_and_are_spread() {
        let pauses = [Duration::from_secs(5), Duration::from_secs(100)];
        assert_eq!((pause_ms(&pauses, 1, 0), pause_ms(&pauses, 1, u16::MAX)), (4_000, 6_000));
        assert_eq!(pause_ms(&pauses, 2, u16::MAX / 2), 99_999);
        assert_eq!(pause_ms(&pauses, 99, 0), 80_000);
        assert_eq!(pause_ms(&[], 1, 0), 800);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::parse("2026-03-01T00:00:00Z").unwrap();
        assert_eq!(retry_after_ms("120", now), Some(120_000));
        assert_eq!(retry_after_ms("-5", now), Some(0));
        assert_eq!(retry_after_ms("99999999999", now), Some(LONGEST_RETRY_AFTER_MS));
        assert_eq!(retry_after_ms("Sun, 01 Mar 2026 00:01:00 GMT", now), Some(60_000));
        assert_eq!(retry_after_ms("Sunday, 01-Mar-26 00:01:00 GMT", now), Some(60_000));
        assert_eq!(retry_after_ms("Sun Mar  1 00:01:00 2026", now), Some(60_000));
        assert_eq!(retry_after_ms("soon", now), None);
    }

    #[test]
    fn headers_of_others_only() {
        let check = |name: &str, value: &str| headers(&BTreeMap::from([(name.to_owned(), value.to_owned())])).is_ok();
        assert!(
            check("Authorization", "Bearer x") && check("X-Custom", "a\tb ü") && check("content-type", "text/plain")
        );
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("X-Edge-Signature", "x"),
            ("Webhook-Id", "x"),
            ("Host", "x"),
            ("Content-Length", "1"),
            ("Proxy-Authorization", "x"),
            ("x", "a\r\nb: c"),
            ("x", "\u{7f}"),
        ] {
            assert!(!check(name, value), "{name}: {value}");
        }
    }
}
