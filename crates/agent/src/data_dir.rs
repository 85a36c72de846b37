//! The agent's data directory: readable by its owner only, used by one agent at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::AgentError;

/// An open and locked data directory; the lock ends with the value.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory when absent, tightens its mode and takes the lock.
    pub fn open(path: &Path) -> Result<Self, AgentError> {
        let failed = |error: io::Error| {
            AgentError::new(
                format!("cannot use the data directory {}: {error}", path.display()),
                "create it for the user the agent runs as, or choose another with --data",
            )
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let mut lock = private_file(&path.join("lock"), false).map_err(failed)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = fs::read_to_string(path.join("lock")).unwrap_or_default();
            let holder = holder.trim();
            return Err(AgentError::new(
                format!("another agent (process {holder}) already uses {}", path.display()),
                "stop it, or give this agent a directory of its own with --data",
            ));
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).or_else(|error| {
            // The number is only for the message above; a full disk must not keep the agent from starting.
            tracing::debug!(%error, "could not write the process id into the lock file");
            Ok::<(), AgentError>(())
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file, `None` when it does not exist.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file so that after a crash either the old or the new content is there.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let next = self.file(&format!("{name}.new"));
        let mut file = private_file(&next, true)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&next, self.file(name))?;
        sync_dir(&self.path)
    }
}

/// Opens or creates a file only its owner can read.
pub fn private_file(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// Makes creations and renames in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        first.replace("x", b"1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(first.file("x")).unwrap().permissions().mode() & 0o777, 0o600);
        let error = DataDir::open(&path).unwrap_err();
        assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        let again = DataDir::open(&path).unwrap();
        assert_eq!(again.read("x").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(again.read("y").unwrap(), None);
    }

    #[test]
    fn a_loose_directory_is_tightened() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
