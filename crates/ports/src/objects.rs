//! Places that hold named files: a folder, or a bucket.

use futures::future::BoxFuture;
use reeve_types::{Result, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};

/// A file that is being written. It appears whole under its name when it is shut down; dropped before that, it never was.
pub type NewObject = Box<dyn AsyncWrite + Send + Unpin>;

/// A file that is being read.
pub type OpenObject = Box<dyn AsyncRead + Send + Unpin>;

/// What is known of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name in its place.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written.
    pub modified_at: Timestamp,
}

/// One place. Names hold no `/`.
pub trait Objects: Send + Sync + 'static {
    /// Begins a file; one of the same name is replaced when it is whole.
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<NewObject>>;

    /// Opens a file; NotFound when there is none.
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<OpenObject>>;

    /// Every file, by name. Folders below are left out.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ObjectInfo>>>;

    /// Deletes a file; one that is gone is no error.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;

    /// For people, without secrets.
    fn describe(&self) -> String;
}
