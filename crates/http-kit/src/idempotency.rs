//! `Idempotency-Key`: the seam to where keys and answers are kept, and the fingerprint of a request.

use futures::future::BoxFuture;
use http::Method;
use reeve_types::access::{IdempotencyKey, Lookup, StoredReply};
use reeve_types::{Actor, Result};
use sha2::{Digest, Sha256};

/// Where keys and their answers are kept.
pub trait IdempotencyStore: Send + Sync + 'static {
    /// What is known of the key for this principal.
    fn lookup<'a>(&'a self, actor: &'a Actor, key: &'a IdempotencyKey) -> BoxFuture<'a, Result<Lookup>>;
    /// Keeps the answer of a request that succeeded. Its key was stored in the transaction of its effect.
    fn complete<'a>(
        &'a self,
        actor: &'a Actor,
        key: &'a IdempotencyKey,
        reply: StoredReply,
    ) -> BoxFuture<'a, Result<()>>;
}

/// Hex SHA-256 over everything that makes a request the same request.
pub(crate) fn fingerprint(method: &Method, path: &str, principal: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), principal.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_flow_into_each_other() {
        assert_ne!(fingerprint(&Method::POST, "/a", "b", b""), fingerprint(&Method::POST, "/", "ab", b""));
        assert_eq!(fingerprint(&Method::POST, "/a", "b", b"c"), fingerprint(&Method::POST, "/a", "b", b"c"));
    }
}
