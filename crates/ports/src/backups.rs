//! What a server needs to make backups by itself: places for them, and what of this machine goes into one.

use std::sync::Arc;

use reeve_types::{Result, Secret};

use crate::Objects;

/// How a bucket is reached. Nothing given: as the server's own environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketAccess {
    /// URL of the service; None is Amazon's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Who asks.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
}

/// This machine, as far as backups are concerned.
pub trait BackupSite: Send + Sync + 'static {
    /// The folder or bucket that `to` names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// Invalid, for the fields `to` or `s3`.
    fn place(&self, to: &str, access: &BucketAccess) -> Result<Arc<dyn Objects>>;

    /// Files of the data directory that make a server elsewhere this one: path and content.
    ///
    /// # Errors
    /// Unavailable when they cannot be read.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>>;

    /// Version of the program.
    fn version(&self) -> &'static str;
}
