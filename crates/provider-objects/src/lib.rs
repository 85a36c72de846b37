//! Folders and S3 buckets behind one port, for backups.
//!
//! Must not know what is kept there.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod folder;
mod s3;

use std::path::PathBuf;
use std::sync::Arc;

pub use folder::Folder;
use reeve_ports::Objects;
use reeve_types::{Error, Result, Secret};
pub use s3::S3;

/// Begins the name of every bucket.
const S3_SCHEME: &str = "s3://";

/// How a bucket is reached.
#[derive(Clone, Debug, Default)]
pub struct S3Access {
    /// URL of the service; None is Amazon's.
    pub endpoint: Option<String>,
    /// Region; None is `us-east-1`.
    pub region: Option<String>,
    /// Who asks.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
}

impl S3Access {
    /// From the variables that Amazon's own tools read.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| get(name).filter(|value| !value.is_empty()));
        Self {
            endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            access_key_id: first(&["AWS_ACCESS_KEY_ID"]),
            secret_access_key: first(&["AWS_SECRET_ACCESS_KEY"]).map(Secret::new),
        }
    }
}

/// Where a file is, split into its place and its name; the name is empty for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// In a folder.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The file in it.
        name: String,
    },
    /// In a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// Before the name, without slashes at its ends; may be empty.
        prefix: String,
        /// The rest.
        name: String,
    },
}

impl Address {
    /// Reads a path or `s3://bucket/prefix/name`. `is_place`: the whole of it names a place.
    ///
    /// # Errors
    /// Invalid when it names no bucket or no file.
    pub fn parse(text: &str, is_place: bool) -> Result<Self> {
        let Some(rest) = text.strip_prefix(S3_SCHEME) else {
            if text.is_empty() || text.contains('\0') {
                return Err(Error::invalid("to", "is neither a path nor s3://BUCKET/PREFIX"));
            }
            let path = PathBuf::from(text);
            if is_place {
                return Ok(Self::Folder { folder: path, name: String::new() });
            }
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            let name = name.ok_or_else(|| Error::invalid("to", format!("{text} names no file")))?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            return Ok(Self::Folder { folder: folder.map_or_else(|| PathBuf::from("."), PathBuf::from), name });
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            let problem = format!("{text} names no bucket; as in s3://BUCKET/PREFIX");
            return Err(Error::invalid("to", problem));
        }
        let key = key.trim_matches('/');
        if is_place {
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: key.to_owned(), name: String::new() });
        }
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
        if name.is_empty() {
            return Err(Error::invalid("to", format!("{text} names a bucket and no file in it")));
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned(), name: name.to_owned() })
    }

    /// The name of the file, empty for a place.
    pub fn name(&self) -> &str {
        match self {
            Self::Folder { name, .. } | Self::S3 { name, .. } => name,
        }
    }

    /// The place.
    ///
    /// # Errors
    /// Invalid when a bucket cannot be reached with this access.
    pub fn place(&self, access: &S3Access) -> Result<Arc<dyn Objects>> {
        Ok(match self {
            Self::Folder { folder, .. } => Arc::new(Folder::new(folder)),
            Self::S3 { bucket, prefix, .. } => Arc::new(S3::new(bucket, prefix, access)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_into_place_and_name() {
        let folder = |folder: &str, name: &str| Some(Address::Folder { folder: folder.into(), name: name.into() });
        let s3 = |bucket: &str, prefix: &str, name: &str| {
            Some(Address::S3 { bucket: bucket.into(), prefix: prefix.into(), name: name.into() })
        };
        for (text, as_file, as_place) in [
            ("b.rvb", folder(".", "b.rvb"), folder("b.rvb", "")),
            ("/var/b/x.rvb", folder("/var/b", "x.rvb"), folder("/var/b/x.rvb", "")),
            ("s3://b/x", s3("b", "", "x"), s3("b", "x", "")),
            ("s3://b/p/q/x", s3("b", "p/q", "x"), s3("b", "p/q/x", "")),
            ("s3://b", None, s3("b", "", "")),
            ("s3://", None, None),
            ("s3:///x", None, None),
            ("s3://a b/x", None, None),
            ("/", None, folder("/", "")),
            ("..", None, folder("..", "")),
            ("", None, None),
        ] {
            assert_eq!(Address::parse(text, false).ok(), as_file, "{text}");
            assert_eq!(Address::parse(text, true).ok(), as_place, "{text}");
        }
    }
}
