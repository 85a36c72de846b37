//! Where the sealing keys outlive the process.

use reeve_types::{Result, Secret};

/// Keeps the sealing keys of this server.
pub trait SealKeys: Send + Sync + 'static {
    /// Whether the keys can be changed here.
    ///
    /// # Errors
    /// Conflict, saying what to do instead.
    fn may_change(&self) -> Result<()>;

    /// Keeps these keys, newest first, in place of those that were kept; durable when it returns.
    ///
    /// # Errors
    /// Unavailable when they could not be written; then the old ones are still kept.
    fn keep(&self, keys: &[(String, Secret)]) -> Result<()>;
}
