//! Proof that a node holds its key pair: a signature over the TLS exporter value of this very connection, so that
//! it cannot be replayed on another one.

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

/// Label for the TLS exporter (RFC 8446, section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-reeve-agent-proof";
/// Length of the exporter value, in bytes.
pub const EXPORTER_LEN: usize = 32;
/// Length of a node's public key, in bytes.
pub const PUBLIC_KEY_LEN: usize = 32;

/// What the signature is for; a proof for one purpose is worthless for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Claims a node id with an enrollment key.
    Enroll,
    /// Opens the session of an enrolled node.
    Hello,
}

/// Signs the exporter value for `node_id`.
pub fn sign(key: &Ed25519KeyPair, purpose: Purpose, node_id: &str, exporter: &[u8]) -> Vec<u8> {
    key.sign(&statement(purpose, node_id, exporter)).as_ref().to_vec()
}

/// Whether `signature` was made by the owner of `public_key` on this connection.
pub fn verify(public_key: &[u8], purpose: Purpose, node_id: &str, exporter: &[u8], signature: &[u8]) -> bool {
    public_key.len() == PUBLIC_KEY_LEN
        && exporter.len() == EXPORTER_LEN
        && UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&statement(purpose, node_id, exporter), signature)
            .is_ok()
}

fn statement(purpose: Purpose, node_id: &str, exporter: &[u8]) -> Vec<u8> {
    let label: &[u8] = match purpose {
        Purpose::Enroll => b"reeve agent enroll v1\0",
        Purpose::Hello => b"reeve agent hello v1\0",
    };
    let mut statement = Vec::with_capacity(label.len() + exporter.len() + node_id.len());
    statement.extend_from_slice(label);
    statement.extend_from_slice(exporter);
    statement.extend_from_slice(node_id.as_bytes());
    statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::KeyPair;

    #[test]
    fn proof_is_bound_to_key_purpose_node_and_connection() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = key.public_key().as_ref().to_vec();
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let exporter = [1u8; EXPORTER_LEN];
        let proof = sign(&key, Purpose::Hello, "n1", &exporter);
        assert!(verify(&public, Purpose::Hello, "n1", &exporter, &proof));
        assert!(!verify(&public, Purpose::Enroll, "n1", &exporter, &proof));
        assert!(!verify(&public, Purpose::Hello, "n2", &exporter, &proof));
        assert!(!verify(&public, Purpose::Hello, "n1", &[2u8; EXPORTER_LEN], &proof));
        assert!(!verify(other.public_key().as_ref(), Purpose::Hello, "n1", &exporter, &proof));
        assert!(!verify(&public[..31], Purpose::Hello, "n1", &exporter, &proof));
        assert!(!verify(&public, Purpose::Hello, "n1", &[], &sign(&key, Purpose::Hello, "n1", &[])));
    }
}
