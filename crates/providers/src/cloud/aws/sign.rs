//! AWS Signature Version 4 for the one kind of request we make: a POST of a form to `/`.
//!
//! Written out because the library for it brings a second HTTP vocabulary and eleven crates for these sixty lines. Held
//! against Amazon's own published example and against botocore (see the tests).

use hmac::{Hmac, KeyInit, Mac};
use reeve_ports::CloudError;
use reeve_types::{Secret, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::cloud::wire::secret_header;

/// What AWS knows a caller by.
pub struct AwsKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`, with keys that expire.
    pub session_token: Option<Secret>,
}

/// What is signed besides the keys.
pub struct Subject<'a> {
    pub host: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
    pub at: Timestamp,
}

/// The headers that a signed request carries, besides Host and Content-Type.
pub fn sign(keys: &AwsKeys, subject: &Subject<'_>) -> Result<HeaderMap, CloudError> {
    // 2026-01-31T08:00:00Z -> 20260131T080000Z
    let stamp: String = subject.at.rfc3339_secs().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let date = stamp.get(..8).unwrap_or_default();
    // In alphabetical order, as the canonical form wants them.
    let mut signed = vec![("content-type", subject.content_type), ("host", subject.host), ("x-amz-date", &stamp)];
    if let Some(token) = &keys.session_token {
        signed.push(("x-amz-security-token", token.expose()));
    }
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(subject.body)));

    let scope = format!("{date}/{}/{}/aws4_request", subject.region, subject.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", keys.secret_access_key.expose()).into_bytes();
    for part in [date, subject.region, subject.service, "aws4_request"] {
        key = mac(&key, part.as_bytes())?;
    }
    let signature = hex::encode(mac(&key, to_sign.as_bytes())?);
    let id = &keys.access_key_id;
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");

    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, secret_header(&Secret::new(authorization))?);
    let stamp = HeaderValue::from_str(&stamp).map_err(|_| unsignable())?;
    headers.insert(HeaderName::from_static("x-amz-date"), stamp);
    if let Some(token) = &keys.session_token {
        headers.insert(HeaderName::from_static("x-amz-security-token"), secret_header(token)?);
    }
    Ok(headers)
}

fn mac(key: &[u8], text: &[u8]) -> Result<Vec<u8>, CloudError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| unsignable())?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn unsignable() -> CloudError {
    CloudError::invalid("credentials", "the credentials cannot sign a request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(session_token: Option<&str>) -> AwsKeys {
        AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(Secret::new),
        }
    }

    /// `post-x-www-form-urlencoded` of Amazon's Signature Version 4 test suite.
    #[test]
    fn amazons_published_example() {
        let subject = Subject {
            host: "example.amazonaws.com",
            region: "us-east-1",
            service: "service",
            content_type: "application/x-www-form-urlencoded",
            body: b"Param1=value1",
            at: Timestamp::parse("2015-08-30T12:36:00Z").unwrap(),
        };
        let headers = sign(&keys(None), &subject).unwrap();
        assert_eq!(
            headers[AUTHORIZATION],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        assert!(!format!("{headers:?}").contains("Signature="), "a credential must not show in a log");
    }

    #[test]
    fn a_session_token_is_signed_along() {
        let at = Timestamp::parse("2026-01-31T08:00:00Z").unwrap();
        let subject = Subject { host: "h", region: "r", service: "ec2", content_type: "t", body: b"", at };
        let headers = sign(&keys(Some("token")), &subject).unwrap();
        assert_eq!(headers["x-amz-security-token"], "token");
        assert!(headers[AUTHORIZATION].to_str().unwrap().contains("host;x-amz-date;x-amz-security-token,"));
        assert!(sign(&keys(Some("to\nken")), &subject).is_err());
    }
}
