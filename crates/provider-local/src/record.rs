//! What is known of a host beyond its processes: one folder for each, with a file `host.json`.
//!
//! ```text
//! folder/lock               held by whoever changes something
//! folder/images/NAME/       roots that hosts are laid over
//! folder/hosts/ID/host.json what was ordered and what is wanted
//!                 boot.json what the next start needs (read by the host itself)
//!                 alive     locked as long as the host runs; holds its process id
//!                 up        it has got as far as its own first program
//!                 console.log
//!                 upper/ work/ root/   the host's own files
//! ```

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use reeve_ports::cloud::{CloudServerId, Labels, OperationTag};
use reeve_ports::{CloudError, CloudErrorKind};
use reeve_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::program::{broken, io};

/// What somebody asked a host to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Up,
    Down,
    /// Down, and up again.
    Restart,
    Gone,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub hostname: String,
    pub plan: String,
    pub image: String,
    pub labels: Labels,
    pub address: Ipv4Addr,
    pub created_at: Timestamp,
    pub wanted: Wanted,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The same order has the same id, on the same machine below the same folder: that is what makes a repeat find the host.
pub fn id_of(folder: &Path, operation: &OperationTag) -> String {
    let mut hash = Sha256::new();
    hash.update(folder.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(operation.as_str());
    hex::encode(&hash.finalize()[..6])
}

/// A host's folder. NotFound for what is no id.
pub fn folder_of(folder: &Path, id: &CloudServerId) -> Result<PathBuf, CloudError> {
    let id = id.as_str();
    let plain = id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    if plain { Ok(folder.join("hosts").join(id)) } else { Err(CloudError::server_not_found()) }
}

impl Record {
    /// Reads a host. None when there is none, or not yet.
    pub fn load(host: &Path) -> Result<Option<Self>, CloudError> {
        let path = host.join("host.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", &path)(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| CloudError::new(CloudErrorKind::State, format!("{} is damaged: {error}", path.display())))
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, host: &Path) -> Result<(), CloudError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| broken(error.to_string()))?;
        write_whole(&host.join("host.json"), &text, 0o600)
    }

    /// Every host, oldest first, and the folders that are no host (yet).
    pub fn all(folder: &Path) -> Result<(Vec<Self>, Vec<PathBuf>), CloudError> {
        let hosts = folder.join("hosts");
        let entries = match fs::read_dir(&hosts) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(io("read", &hosts)(error)),
        };
        let (mut records, mut rest) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.map_err(io("read", &hosts))?.path();
            match Self::load(&path)? {
                Some(record) => records.push(record),
                None => rest.push(path),
            }
        }
        records.sort_by(|a: &Self, b: &Self| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok((records, rest))
    }
}

/// Writes a file whole or not at all, and to the disk before it shows.
pub fn write_whole(path: &Path, text: &[u8], mode: u32) -> Result<(), CloudError> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let write = || {
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(mode).open(&part)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_order_and_nothing_else_is_one() {
        let tag = |text: &str| OperationTag::new(text).unwrap();
        let folder = Path::new("/var/lib/reeve/local");
        let id = id_of(folder, &tag("a"));
        assert_eq!(id, id_of(folder, &tag("a")));
        assert_ne!(id, id_of(folder, &tag("b")));
        assert_ne!(id, id_of(Path::new("/other"), &tag("a")));
        assert!(folder_of(folder, &CloudServerId(id)).is_ok());
        for bad in ["", "..", "../../etc/pa", "0123456789AB", "0123456789abc"] {
            assert!(folder_of(folder, &bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_is_kept_whole() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("hosts").join("0123456789ab");
        assert_eq!(Record::all(dir.path()).unwrap(), (Vec::new(), Vec::new()));
        fs::create_dir_all(&host).unwrap();
        assert_eq!(Record::all(dir.path()).unwrap(), (Vec::new(), vec![host.clone()]));
        let record = Record {
            id: "0123456789ab".into(),
            hostname: "a".into(),
            plan: "1xCPU-1GB".into(),
            image: "host".into(),
            labels: Labels::new(),
            address: Ipv4Addr::LOCALHOST,
            created_at: Timestamp(1),
            wanted: Wanted::Up,
            problem: None,
        };
        record.save(&host).unwrap();
        assert_eq!(Record::all(dir.path()).unwrap(), (vec![record], Vec::new()));
        fs::write(host.join("host.json"), "{").unwrap();
        assert!(Record::load(&host).unwrap_err().message.contains("damaged"));
    }
}
