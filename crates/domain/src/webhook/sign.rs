//! What a request to a receiver carries: the event, and the signatures that prove where it comes from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reeve_types::{Error, Result, Secret, Timestamp};
use sha2::Sha256;

/// Secrets in the form of Standard Webhooks begin so, and base64 follows.
const STANDARD_PREFIX: &str = "whsec_";

/// What a webhook signs with.
pub(super) struct Keys {
    current: Secret,
    previous: Option<(Secret, Timestamp)>,
}

impl Keys {
    pub(super) fn new(current: Secret, previous: Option<(Secret, Timestamp)>) -> Self {
        Self { current, previous }
    }

    /// The signing headers of one attempt: the edge API's over the body, and those of Standard Webhooks over id, time
    /// and body. While secrets overlap both of them sign the latter.
    pub(super) fn headers(&self, id: &str, body: &[u8], now: Timestamp) -> Result<Vec<(String, String)>> {
        let timestamp = now.as_secs().to_string();
        let head = format!("{id}.{timestamp}.");
        let mut signatures = vec![standard(&self.current, head.as_bytes(), body)?];
        if let Some((secret, until)) = &self.previous
            && now < *until
        {
            signatures.push(standard(secret, head.as_bytes(), body)?);
        }
        let edge = format!("sha256={}", hex::encode(mac(self.current.expose().as_bytes(), &[body])?));
        let header = |name: &str, value: String| (name.to_owned(), value);
        Ok(vec![
            header("x-edge-signature", edge),
            header("webhook-id", id.to_owned()),
            header("webhook-timestamp", timestamp),
            header("webhook-signature", signatures.join(" ")),
        ])
    }
}

fn standard(secret: &Secret, head: &[u8], body: &[u8]) -> Result<String> {
    let text = secret.expose();
    let decoded = text.strip_prefix(STANDARD_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
    let key = decoded.as_deref().filter(|key| !key.is_empty()).unwrap_or(text.as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac(key, &[head, body])?)))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(Error::internal)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(headers: &[(String, String)], name: &str) -> String {
        headers.iter().find(|(n, _)| n == name).unwrap().1.clone()
    }

    #[test]
    fn the_example_of_standard_webhooks() {
        let keys = Keys::new(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None);
        let now = Timestamp(1_614_265_330_000_000);
        let headers = keys.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#, now).unwrap();
        assert_eq!(value(&headers, "webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(value(&headers, "webhook-timestamp"), "1614265330");
    }

    #[test]
    fn secrets_overlap_for_a_while() {
        let until = Timestamp(2_000_000);
        let keys = Keys::new(Secret::new("n".repeat(32)), Some((Secret::new("o".repeat(32)), until)));
        let count =
            |at: i64| value(&keys.headers("i", b"{}", Timestamp(at)).unwrap(), "webhook-signature").split(' ').count();
        assert_eq!((count(1_999_999), count(2_000_000)), (2, 1));
        let edge = value(&keys.headers("i", b"{}", Timestamp(0)).unwrap(), "x-edge-signature");
        assert!(edge.starts_with("sha256=") && edge.len() == 71, "{edge}");
    }
}
