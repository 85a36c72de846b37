//! Keys: of hosts, which are pinned, and of the fleet, which logs in with them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use reeve_types::Secret;
use sha2::{Digest, Sha256};

use super::RemoteError;

/// The public key of a host: one line as in `known_hosts`, without the name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostKey {
    algorithm: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// Reads `ssh-ed25519 AAAA…`, as stored, or as a file `ssh_host_*_key.pub` has it; a comment is left out.
    pub fn parse(line: &str) -> Result<Self, RemoteError> {
        let mut words = line.split_ascii_whitespace();
        let (algorithm, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let blob = STANDARD.decode(blob).unwrap_or_default();
        // The blob begins with its own name, after its length in four bytes: that tells a key from other base64.
        let inner = blob.get(4..4 + algorithm.len()).unwrap_or_default();
        if algorithm.is_empty() || inner != algorithm.as_bytes() {
            return Err(RemoteError::invalid("a host key is a line such as `ssh-ed25519 AAAA…`"));
        }
        Ok(Self { algorithm: algorithm.to_owned(), blob })
    }
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }
    /// As OpenSSH shows it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }
}

impl std::fmt::Display for HostKey {
    /// As it is stored; [`HostKey::parse`] reads it back.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({} {})", self.algorithm, self.fingerprint())
    }
}

/// A key to log in with.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// As OpenSSH writes it, without a passphrase.
    pub private: Secret,
    /// A line for `authorized_keys`.
    pub public: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Zb6cVb0o0QJ0m1pE4w5n3m3e2Jt0m5h4e7yQ2x";

    #[test]
    fn a_host_key_survives_being_stored() {
        let key = HostKey::parse(&format!("{LINE} root@host\n")).unwrap();
        assert_eq!(key.to_string(), LINE);
        assert_eq!(key.algorithm(), "ssh-ed25519");
        assert_eq!(HostKey::parse(&key.to_string()).unwrap(), key);
        assert_eq!(key.fingerprint().len(), "SHA256:".len() + 43);
        for bad in ["", "ssh-ed25519", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Z", "ssh-ed25519 !", "SHA256:abc"] {
            assert!(HostKey::parse(bad).is_err(), "{bad}");
        }
    }
}
