//! Sealing of secrets before they reach the store, and the keys derived from the sealing key.
//!
//! A sealed text is bound to its place (table, column, row id): moved to another row it does not open. Must not do IO
//! of its own; [`rotate`] is the use case that does.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use reeve_types::id::Ids;
use reeve_types::{Error, Result, Secret};
use sha2::Sha256;
use zeroize::Zeroizing;

pub mod rotate;
pub mod rotation;

const NONCE: usize = 24;
const KEY: usize = 32;

/// 32 bytes that are wiped on drop.
pub type Subkey = Zeroizing<[u8; KEY]>;

/// Where a sealed text stands. It opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad<'a> {
    /// Table name.
    pub table: &'a str,
    /// Column name.
    pub column: &'a str,
    /// Row id.
    pub id: &'a str,
}

impl<'a> Aad<'a> {
    /// The place `table.column` of row `id`.
    pub fn new(table: &'a str, column: &'a str, id: &'a str) -> Self {
        Self { table, column, id }
    }

    fn bytes(&self, key_id: &str) -> Vec<u8> {
        [FORM, key_id, self.table, self.column, self.id].join("\0").into_bytes()
    }
}

/// First part of every sealed text.
const FORM: &str = "s1";

struct Key {
    id: String,
    bytes: Subkey,
    cipher: XChaCha20Poly1305,
}

/// The keys, newest first; never empty.
type Ring = Arc<Vec<Key>>;

/// Seals and opens. Cheap to clone; a change of the keys is seen by every clone.
#[derive(Clone)]
pub struct Seal(Arc<RwLock<Ring>>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

impl Seal {
    /// Takes the keys, newest first: the first seals, all of them open. An id is 1..=32 letters, digits, `-` or `_`; a key
    /// is 32 bytes in base64, with or without padding, either alphabet.
    ///
    /// # Errors
    /// Invalid when there is no key, an id appears twice or a key is not 32 bytes.
    pub fn new(keys: Vec<(String, Secret)>) -> Result<Self> {
        Ok(Self(Arc::new(RwLock::new(ring_of(keys)?))))
    }

    /// Takes other keys in place of those it has, by the rules of [`new`](Self::new).
    ///
    /// # Errors
    /// As [`new`](Self::new); then nothing changed.
    pub fn replace(&self, keys: Vec<(String, Secret)>) -> Result<()> {
        let ring = ring_of(keys)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The keys in the form that [`new`](Self::new) reads, newest first.
    pub fn keys(&self) -> Vec<(String, Secret)> {
        let text = |key: &Key| Secret::new(URL_SAFE_NO_PAD.encode(*key.bytes));
        self.ring().iter().map(|key| (key.id.clone(), text(key))).collect()
    }

    fn ring(&self) -> Ring {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A fresh key in the form that [`new`](Self::new) reads.
    pub fn fresh_key(ids: &dyn Ids) -> Secret {
        let mut bytes = Subkey::default();
        ids.fill(&mut *bytes);
        Secret::new(URL_SAFE_NO_PAD.encode(*bytes))
    }

    /// Seals `plaintext` for its place with the newest key: `s1.<key id>.<base64url of nonce and ciphertext>`.
    pub fn seal(&self, ids: &dyn Ids, aad: Aad<'_>, plaintext: &str) -> String {
        let ring = self.ring();
        let key = &ring[0];
        let mut nonce = [0_u8; NONCE];
        ids.fill(&mut nonce);
        let place = aad.bytes(&key.id);
        let payload = Payload { msg: plaintext.as_bytes(), aad: &place };
        #[allow(clippy::expect_used)] // fails only for texts of more than 256 GiB
        let ciphertext = key.cipher.encrypt(&XNonce::from(nonce), payload).expect("a text that fits into memory");
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&ciphertext);
        format!("{FORM}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// Internal when it was made with a key that is not here, for another place, or was changed. The message for the
    /// caller stays general.
    pub fn open(&self, aad: Aad<'_>, sealed: &str) -> Result<Secret> {
        let place = || format!("{}.{} of {}", aad.table, aad.column, aad.id);
        let key_id = key_id(sealed).ok_or_else(|| Error::internal(format!("{} is not a sealed text", place())))?;
        let ring = self.ring();
        let key = ring.iter().find(|k| k.id == key_id).ok_or_else(|| {
            Error::internal(format!("{} was sealed with the key {key_id}, which this server does not have", place()))
        })?;
        let broken = || Error::internal(format!("{} does not open: changed or moved", place()));
        let text = sealed.rsplit('.').next().unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| broken())?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE>().ok_or_else(broken)?;
        let payload = Payload { msg: ciphertext, aad: &aad.bytes(&key.id) };
        let plaintext = key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| broken())?;
        String::from_utf8(plaintext).map(Secret::new).map_err(|_| broken())
    }

    /// Whether `sealed` was made with another key than the newest.
    pub fn needs_rotation(&self, sealed: &str) -> bool {
        key_id(sealed) != Some(&self.ring()[0].id)
    }

    /// A key for another purpose, from the newest key: `audit`, `jwt`.
    pub fn derive(&self, purpose: &str) -> Subkey {
        derive(&self.ring()[0], purpose)
    }

    /// As [`derive`](Self::derive), with the id of the key it is derived from.
    pub fn derive_newest(&self, purpose: &str) -> (String, Subkey) {
        let ring = self.ring();
        (ring[0].id.clone(), derive(&ring[0], purpose))
    }

    /// As [`derive`](Self::derive), from the key named `key_id`; None when it is not here.
    pub fn derive_from(&self, key_id: &str, purpose: &str) -> Option<Subkey> {
        self.ring().iter().find(|k| k.id == key_id).map(|key| derive(key, purpose))
    }

    /// Id of the key that seals.
    pub fn newest_id(&self) -> String {
        self.ring()[0].id.clone()
    }

    /// Ids of all keys, newest first.
    pub fn key_ids(&self) -> Vec<String> {
        self.ring().iter().map(|k| k.id.clone()).collect()
    }
}

fn ring_of(keys: Vec<(String, Secret)>) -> Result<Ring> {
    let mut ring: Vec<Key> = Vec::with_capacity(keys.len());
    for (id, text) in keys {
        let id_is_plain =
            (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !id_is_plain {
            return Err(Error::invalid("seal_key", "has an id that is not 1 to 32 letters, digits, - or _"));
        }
        if ring.iter().any(|k| k.id == id) {
            return Err(Error::invalid("seal_key", format!("has the id {id} twice")));
        }
        let bytes =
            decode_key(&text).ok_or_else(|| Error::invalid("seal_key", format!("{id} is not 32 bytes in base64")))?;
        let cipher = XChaCha20Poly1305::new_from_slice(&*bytes).map_err(|e| Error::internal(e.to_string()))?;
        ring.push(Key { id, bytes, cipher });
    }
    if ring.is_empty() {
        return Err(Error::invalid("seal_key", "is missing"));
    }
    Ok(Arc::new(ring))
}

fn decode_key(text: &Secret) -> Option<Subkey> {
    let bare = text.expose().trim().trim_end_matches('=');
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(bare).or_else(|_| STANDARD_NO_PAD.decode(bare)).ok()?);
    let mut key = Subkey::default();
    if bytes.len() != KEY {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(key)
}

fn derive(key: &Key, purpose: &str) -> Subkey {
    let mut subkey = Subkey::default();
    let info = format!("reeve/{purpose}/v1");
    #[allow(clippy::expect_used)] // 32 bytes are far below the limit of 255 hashes
    Hkdf::<Sha256>::new(None, &*key.bytes).expand(info.as_bytes(), &mut *subkey).expect("32 bytes");
    subkey
}

fn key_id(sealed: &str) -> Option<&str> {
    let mut parts = sealed.split('.');
    (parts.next() == Some(FORM)).then_some(())?;
    let id = parts.next()?;
    (parts.next().is_some() && parts.next().is_none()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_types::id::CountingIds;

    fn key(byte: u8) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode([byte; 32]))
    }

    const PLACE: Aad<'static> = Aad { table: "nodes", column: "api_token_sealed", id: "n1" };

    #[test]
    fn opens_only_in_its_place() {
        let seal = Seal::new(vec![("k1".into(), key(1))]).unwrap();
        let sealed = seal.seal(&CountingIds::new(), PLACE, "hunter2");
        assert!(sealed.starts_with("s1.k1."));
        assert!(!sealed.contains("hunter2"));
        assert_eq!(seal.open(PLACE, &sealed).unwrap().expose(), "hunter2");
        for elsewhere in
            [Aad { id: "n2", ..PLACE }, Aad { column: "proxy_password_sealed", ..PLACE }, Aad { table: "x", ..PLACE }]
        {
            assert!(seal.open(elsewhere, &sealed).is_err());
        }
    }

    #[test]
    fn a_changed_text_does_not_open() {
        let seal = Seal::new(vec![("k1".into(), key(1))]).unwrap();
        let sealed = seal.seal(&CountingIds::new(), PLACE, "hunter2");
        for at in 6..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(seal.open(PLACE, std::str::from_utf8(&changed).unwrap()).is_err(), "at {at}");
        }
        for broken in ["", "s1", "s1.k1", "s1.k1.", "s1.k1.AA", "s2.k1.AA", "plain", "s1.k9.AAAA", "s1.k1.A.A"] {
            assert!(seal.open(PLACE, broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn older_keys_open_and_the_newest_seals() {
        let old = Seal::new(vec![("k1".into(), key(1))]).unwrap();
        let sealed = old.seal(&CountingIds::new(), PLACE, "hunter2");
        let both = Seal::new(vec![("k2".into(), key(2)), ("k1".into(), key(1))]).unwrap();
        assert!(both.needs_rotation(&sealed));
        assert_eq!(both.open(PLACE, &sealed).unwrap().expose(), "hunter2");
        let again = both.seal(&CountingIds::new(), PLACE, "hunter2");
        assert!(!both.needs_rotation(&again));
        assert!(old.open(PLACE, &again).is_err());
    }

    #[test]
    fn subkeys_differ_by_purpose_and_by_key() {
        let seal = Seal::new(vec![("k2".into(), key(2)), ("k1".into(), key(1))]).unwrap();
        assert_ne!(seal.derive("audit"), seal.derive("jwt"));
        assert_eq!(seal.derive_from("k2", "jwt"), Some(seal.derive("jwt")));
        assert_ne!(seal.derive_from("k1", "jwt"), Some(seal.derive("jwt")));
        assert_eq!(seal.derive_from("k3", "jwt"), None);
    }

    #[test]
    fn keys_are_read_in_either_alphabet() {
        for text in [STANDARD_NO_PAD.encode([0xfb; 32]), URL_SAFE_NO_PAD.encode([0xfb; 32]) + "="] {
            assert!(Seal::new(vec![("k".into(), Secret::new(text))]).is_ok());
        }
        for (id, text) in
            [("k", "short"), ("k k", &*URL_SAFE_NO_PAD.encode([1; 32])), ("", &*URL_SAFE_NO_PAD.encode([1; 32]))]
        {
            assert!(Seal::new(vec![(id.into(), Secret::new(text))]).is_err());
        }
        assert!(Seal::new(vec![]).is_err());
        assert!(Seal::new(vec![("k".into(), key(1)), ("k".into(), key(2))]).is_err());
    }
}
