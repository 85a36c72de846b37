//! What a backup is sealed with: a passphrase, or a key file. From either comes a key of this one backup.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use reeve_types::id::Ids;
use reeve_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::header::Header;
use super::wrong_key;

/// Shortest passphrase, in characters.
const SHORTEST_PASSPHRASE: usize = 10;
/// First part of a key file.
const KEY_FORM: &str = "reeve-backup-key-";
const SALT: usize = 32;
/// What a passphrase costs: 64 MiB and three passes.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
/// A header may ask for at most this much work, lest a hostile file keep the machine busy.
const MOST_MEMORY_KIB: u32 = 1_048_576;
const MOST_PASSES: u32 = 16;

/// A passphrase or the text of a key file.
#[derive(Clone, Debug)]
pub enum BackupKey {
    /// A passphrase; stretched with Argon2id.
    Passphrase(Secret),
    /// 32 random bytes.
    File(Zeroizing<[u8; 32]>),
}

/// How the key of a backup is found again. Stands in the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeyHint {
    /// From a passphrase.
    Passphrase {
        /// Base64url of 32 bytes.
        salt: String,
        /// Argon2id memory.
        memory_kib: u32,
        /// Argon2id passes.
        passes: u32,
    },
    /// From a key file.
    KeyFile {
        /// Base64url of 32 bytes.
        salt: String,
        /// Tells key files apart; says nothing about the key.
        id: String,
    },
}

/// The keys of one backup.
pub(super) struct Keys {
    pub payload: Zeroizing<[u8; 32]>,
    check: Zeroizing<[u8; 32]>,
}

impl BackupKey {
    /// A passphrase.
    ///
    /// # Errors
    /// Invalid when it is too short.
    pub fn passphrase(text: &str) -> Result<Self> {
        if text.chars().count() < SHORTEST_PASSPHRASE {
            let problem =
                format!("is too short; a passphrase of a backup has at least {SHORTEST_PASSPHRASE} characters");
            return Err(Error::invalid("passphrase", problem));
        }
        Ok(Self::Passphrase(Secret::new(text)))
    }

    /// The content of a key file, as [`fresh_file`](Self::fresh_file) makes it.
    ///
    /// # Errors
    /// Invalid when it is something else.
    pub fn file(text: &str) -> Result<Self> {
        let bytes = text.trim().strip_prefix(KEY_FORM).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.map(Zeroizing::new).and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let problem = "is not a key file of Reeve's; `reeve backup key FILE` makes one";
        bytes.map(|bytes| Self::File(Zeroizing::new(bytes))).ok_or_else(|| Error::invalid("key_file", problem))
    }

    /// The content of a new key file.
    pub fn fresh_file(ids: &dyn Ids) -> Secret {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        ids.fill(&mut *bytes);
        Secret::new(format!("{KEY_FORM}{}\n", URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// How a new backup's key is found again.
    pub(super) fn fresh_hint(&self, ids: &dyn Ids) -> KeyHint {
        let mut salt = [0_u8; SALT];
        ids.fill(&mut salt);
        let salt = URL_SAFE_NO_PAD.encode(salt);
        match self {
            Self::Passphrase(_) => KeyHint::Passphrase { salt, memory_kib: MEMORY_KIB, passes: PASSES },
            Self::File(bytes) => KeyHint::KeyFile { salt, id: file_id(bytes) },
        }
    }

    /// The keys of the backup with this hint. Takes a good part of a second for a passphrase; run it off the loop.
    pub(super) fn keys(&self, hint: &KeyHint) -> Result<Keys> {
        match (self, hint) {
            (Self::Passphrase(text), KeyHint::Passphrase { salt, memory_kib, passes }) => {
                if *memory_kib > MOST_MEMORY_KIB || *passes > MOST_PASSES {
                    return Err(Error::conflict(format!(
                        "the backup asks for {memory_kib} KiB and {passes} passes to stretch its passphrase; at most \
                         {MOST_MEMORY_KIB} KiB and {MOST_PASSES} passes are spent"
                    )));
                }
                let params = argon2::Params::new(*memory_kib, *passes, 1, Some(32));
                let params = params.map_err(|e| Error::conflict(format!("the backup's header is damaged: {e}")))?;
                let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
                let mut key = Zeroizing::new([0_u8; 32]);
                let salt = salt_bytes(salt)?;
                let done = argon.hash_password_into(text.expose().as_bytes(), &salt, &mut *key);
                done.map_err(|e| Error::internal(e.to_string()))?;
                Ok(Keys::derive(&key, &salt))
            }
            (Self::File(bytes), KeyHint::KeyFile { salt, id }) => {
                if file_id(bytes) != *id {
                    return Err(wrong_key(format!(
                        "this key file (id {}) is not the one the backup was made with (id {id})",
                        file_id(bytes)
                    )));
                }
                Ok(Keys::derive(bytes, &salt_bytes(salt)?))
            }
            (Self::Passphrase(_), KeyHint::KeyFile { id, .. }) => {
                Err(wrong_key(format!("the backup was made with a key file (id {id}), not with a passphrase")))
            }
            (Self::File(_), KeyHint::Passphrase { .. }) => {
                Err(wrong_key("the backup was made with a passphrase, not with a key file".to_owned()))
            }
        }
    }
}

impl Keys {
    fn derive(key: &[u8; 32], salt: &[u8]) -> Self {
        let expand = |purpose: &str| expand(key, salt, purpose);
        Self { payload: expand("payload"), check: expand("check") }
    }

    /// Proves, over the header's text, that the key is the right one and that the header is unchanged.
    pub fn tag(&self, header: &Header) -> Result<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.check).map_err(Error::internal)?;
        mac.update(&header.text()?);
        Ok(mac.finalize().into_bytes().into())
    }
}

fn expand(key: &[u8], salt: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0_u8; 32]);
    let info = format!("reeve/backup/{purpose}/v1");
    #[allow(clippy::expect_used)] // 32 bytes are far below the limit of 255 hashes
    Hkdf::<Sha256>::new(Some(salt), key).expand(info.as_bytes(), &mut *out).expect("32 bytes");
    out
}

fn file_id(key: &[u8; 32]) -> String {
    hex::encode(&expand(key, b"", "id")[..6])
}

fn salt_bytes(text: &str) -> Result<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == SALT);
    bytes.ok_or_else(|| Error::conflict("the backup's header is damaged: its salt is not 32 bytes"))
}
