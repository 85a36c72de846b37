//! This machine, for backups that the server makes by itself: its data directory, and folders and buckets to put them in.

use std::path::PathBuf;
use std::sync::Arc;

use reeve_ports::{BackupSite, BucketAccess, Objects};
use reeve_provider_objects::{Address, S3Access};
use reeve_types::{Error, Result};

use super::{access, identity_of};

/// The site.
pub struct Site {
    /// The data directory.
    pub data: PathBuf,
}

impl BackupSite for Site {
    fn place(&self, to: &str, given: &BucketAccess) -> Result<Arc<dyn Objects>> {
        let own = access();
        let has_key = given.access_key_id.is_some();
        let access = S3Access {
            endpoint: given.endpoint.clone().or(own.endpoint),
            region: given.region.clone().or(own.region),
            access_key_id: if has_key { given.access_key_id.clone() } else { own.access_key_id },
            secret_access_key: if has_key { given.secret_access_key.clone() } else { own.secret_access_key },
        };
        Address::parse(to, true)?.place(&access)
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let files = identity_of(&self.data).map_err(|e| Error::unavailable(format!("{e:#}")))?;
        Ok(files.into_iter().map(|file| (file.name, file.content)).collect())
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
