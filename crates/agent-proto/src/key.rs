//! The enrollment key: one pasteable line that says where the server is, how to recognise it, and grants entry.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Random bytes in the nonce.
pub const NONCE_LEN: usize = 32;

const PADDED: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new());
const UNPADDED: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_encode_padding(false));
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What an enrollment key carries. On the wire and in the store it is the verbatim text of [`EnrollmentKey::encode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollmentKey {
    /// Base URLs of the REST API.
    #[serde(default)]
    pub admin_urls: Vec<String>,
    /// 32 random bytes in base64 without padding; makes the key unguessable.
    pub nonce: String,
    /// `host:port` addresses of the agent listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_endpoints: Vec<String>,
    /// `sha256:<hex>` of the server's SubjectPublicKeyInfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

/// Why a text is not an enrollment key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not base64.
    Encoding,
    /// Not the JSON object of a key.
    Content,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encoding => write!(f, "the enrollment key is not base64; was it copied whole?"),
            Self::Content => write!(f, "the enrollment key decodes, but is not a key of this product"),
        }
    }
}

impl std::error::Error for KeyError {}

impl EnrollmentKey {
    /// Builds a key around a random nonce.
    pub fn new(
        admin_urls: Vec<String>,
        agent_endpoints: Vec<String>,
        pin: Option<String>,
        nonce: [u8; NONCE_LEN],
    ) -> Self {
        Self { admin_urls, nonce: UNPADDED.encode(nonce), agent_endpoints, pin }
    }

    /// Standard padded base64 of the JSON form.
    pub fn encode(&self) -> String {
        // Strings and lists of strings always serialise.
        PADDED.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a key; surrounding white space and missing padding are forgiven.
    pub fn decode(text: &str) -> Result<Self, KeyError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let json = TOLERANT.decode(compact).map_err(|_| KeyError::Encoding)?;
        serde_json::from_slice(&json).map_err(|_| KeyError::Content)
    }
}

/// The pin of a server: `sha256:<hex>` over its DER SubjectPublicKeyInfo.
pub fn pin_of_spki(spki_der: &[u8]) -> String {
    let digest = Sha256::digest(spki_der);
    let mut pin = String::with_capacity(7 + 64);
    pin.push_str("sha256:");
    for byte in digest.iter() {
        for nibble in [byte >> 4, byte & 15] {
            pin.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    pin
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> EnrollmentKey {
        EnrollmentKey::new(
            vec!["http://127.0.0.1:44000".into()],
            vec!["127.0.0.1:7443".into()],
            Some(pin_of_spki(b"spki")),
            [9; NONCE_LEN],
        )
    }

    #[test]
    fn round_trip_and_shape() {
        let text = key().encode();
        assert_eq!(text.len() % 4, 0);
        assert_eq!(EnrollmentKey::decode(&text).unwrap(), key());
        assert_eq!(key().nonce.len(), 43);
        assert_eq!(pin_of_spki(b"").len(), 7 + 64);
        assert!(pin_of_spki(b"").starts_with("sha256:e3b0c44298fc1c14"));
    }

    #[test]
    fn padding_and_line_breaks_are_forgiven() {
        for extra in 0..3 {
            let mut key = key();
            key.admin_urls[0].push_str(&"x".repeat(extra));
            let text = key.encode();
            let bare = text.trim_end_matches('=');
            assert_eq!(EnrollmentKey::decode(bare).unwrap(), key);
            let wrapped = format!("  {}\n{}\n", &bare[..10], &bare[10..]);
            assert_eq!(EnrollmentKey::decode(&wrapped).unwrap(), key);
        }
    }

    #[test]
    fn a_key_without_our_fields_is_read_and_unknown_fields_are_ignored() {
        let text = PADDED.encode(r#"{"admin_urls":["http://a"],"nonce":"bm9uY2U","cluster_name":"x"}"#);
        let key = EnrollmentKey::decode(&text).unwrap();
        assert!(key.agent_endpoints.is_empty() && key.pin.is_none());
    }

    #[test]
    fn wrong_texts_have_their_own_errors() {
        assert_eq!(EnrollmentKey::decode("???"), Err(KeyError::Encoding));
        assert_eq!(EnrollmentKey::decode(&PADDED.encode("[]")), Err(KeyError::Content));
        assert_eq!(EnrollmentKey::decode(""), Err(KeyError::Content));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in ".{0,200}") {
            prop_assert!(EnrollmentKey::decode(&text).is_err());
        }
    }
}
