//! A file on its way to a host.

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::RemoteError;

/// A file to put in place.
pub struct RemoteFile {
    /// Where, as an absolute path without `..`.
    pub path: String,
    /// Its permission bits, as in 0o644. It belongs to the login.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
    /// Time for all of it.
    pub timeout: std::time::Duration,
}

/// What a file holds.
pub enum Content {
    /// In memory: for configurations and scripts.
    Bytes(Bytes),
    /// Read while it is sent: for packages and images.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl RemoteFile {
    /// For [`RemoteFile::timeout`] where nothing speaks for another.
    pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

    /// A small file, with the usual time limit.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Bytes>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(content.into()), timeout: Self::TIMEOUT }
    }

    /// Checks what does not need the host.
    pub fn validate(&self) -> Result<(), RemoteError> {
        check_path(&self.path)?;
        if self.path.ends_with('/') {
            return Err(RemoteError::invalid("the path of a file does not end with a slash"));
        }
        if self.mode > 0o7777 {
            return Err(RemoteError::invalid(format!("{:o} is no mode of a file; those are 0 to 7777", self.mode)));
        }
        Ok(())
    }
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteFile({}, {:o})", self.path, self.mode)
    }
}

/// What stands on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes of the file.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hex, as sent. The host has computed the same, or has no program that could: then the
    /// lengths agreed.
    pub sha256: String,
}

/// Absolute, without `.` or `..` as a part, without control characters.
pub(super) fn check_path(path: &str) -> Result<(), RemoteError> {
    let fine = path.starts_with('/')
        && path.len() <= 4096
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == ".." || part == ".");
    if fine { Ok(()) } else { Err(RemoteError::invalid(format!("{path:?} is no absolute path without `.` and `..`"))) }
}

/// Checks a path that shall be removed with all below it. For adapters of [`super::RemoteHost::remove`].
pub fn check_removable(path: &str) -> Result<(), RemoteError> {
    check_path(path)?;
    if path.split('/').filter(|part| !part.is_empty()).count() < 2 {
        return Err(RemoteError::invalid(format!("{path} is not removed: it is the root or lies directly below it")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_hurt_are_refused() {
        for bad in ["", "etc/x", "/etc/../x", "/etc/./x", "/a\nb/c", "/", "//", "/etc", "/etc/"] {
            assert!(check_removable(bad).is_err(), "{bad}");
        }
        assert!(check_removable("/etc/reeve").is_ok());
        assert!(RemoteFile::new("/etc/reeve/", 0o644, "").validate().is_err());
        assert!(RemoteFile::new("/etc/reeve", 0o17777, "").validate().is_err());
        assert!(RemoteFile::new("/a..b/...", 0o644, "").validate().is_ok());
    }
}
