//! Private keys: read, made, and shown by their public half.

use reeve_ports::remote::{KeyPair, RemoteError};
use reeve_types::Secret;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Algorithm, PrivateKey};

const READABLE: &str = "give an Ed25519, ECDSA or RSA key as OpenSSH or PEM writes it, without a passphrase";

/// Reads a private key of a kind that we can log in with.
pub fn read(pem: &Secret) -> Result<PrivateKey, RemoteError> {
    let key = russh::keys::decode_secret_key(pem.expose(), None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => {
            RemoteError::invalid(format!("the private key is locked by a passphrase; {READABLE}"))
        }
        _ => RemoteError::invalid(format!("the private key cannot be read; {READABLE}")),
    })?;
    match key.algorithm() {
        _ if key.is_encrypted() => {
            Err(RemoteError::invalid(format!("the private key is locked by a passphrase; {READABLE}")))
        }
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(key),
        other => {
            Err(RemoteError::invalid(format!("keys of the kind {} are not used here; {READABLE}", other.as_str())))
        }
    }
}

/// The pair that belongs to a seed.
pub fn generate(seed: &[u8; 32], comment: &str) -> Result<KeyPair, RemoteError> {
    if comment.len() > 200 || comment.chars().any(char::is_control) {
        return Err(RemoteError::invalid("the comment of a key is one line of at most 200 characters"));
    }
    let failed = |_| RemoteError::invalid("no key can be made with this comment");
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(seed)), comment).map_err(failed)?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    Ok(KeyPair { private: Secret::new(private.as_str()), public: public_line(&key)? })
}

/// A line for `authorized_keys`.
pub fn public_line(key: &PrivateKey) -> Result<String, RemoteError> {
    key.public_key().to_openssh().map_err(|_| RemoteError::invalid("the public half of the key cannot be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_its_seed() {
        let pair = generate(&[7; 32], "reeve fleet").unwrap();
        assert_eq!(pair.private.expose(), generate(&[7; 32], "reeve fleet").unwrap().private.expose());
        assert_ne!(pair.public, generate(&[8; 32], "reeve fleet").unwrap().public);
        assert!(
            pair.public.starts_with("ssh-ed25519 AAAA") && pair.public.ends_with(" reeve fleet"),
            "{}",
            pair.public
        );
        assert_eq!(public_line(&read(&pair.private).unwrap()).unwrap(), pair.public);
        assert!(generate(&[7; 32], "a\nssh-rsa AAAA").is_err());
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        for bad in ["", "secret", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n"] {
            let error = read(&Secret::new(bad)).unwrap_err();
            assert!(error.message.contains("cannot be read") && !error.message.contains("secret"), "{error}");
        }
    }
}
