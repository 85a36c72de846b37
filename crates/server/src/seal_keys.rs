//! The sealing keys in `server.json`, changed by a rotation while the server runs.

use std::path::PathBuf;

use anyhow::Context;
use reeve_ports::SealKeys;
use reeve_types::{Error, Result, Secret};
use serde_json::{Value, json};

use crate::data_dir::{read_json, write_json};

/// The file.
pub struct KeyFile {
    /// The data directory.
    pub data: PathBuf,
    /// The key comes from the settings, and would be put in front again by the next start.
    pub given: bool,
}

impl SealKeys for KeyFile {
    fn may_change(&self) -> Result<()> {
        if self.given {
            return Err(Error::conflict(
                "the sealing key is given by the settings: set another seal_key (REEVE_SEAL_KEY) and restart; the \
                 secrets are sealed again by themselves",
            ));
        }
        Ok(())
    }

    fn keep(&self, keys: &[(String, Secret)]) -> Result<()> {
        let path = self.data.join("server.json");
        let write = || -> anyhow::Result<()> {
            let mut file: Value = read_json(&path)?.with_context(|| format!("{} is gone", path.display()))?;
            file["seal_keys"] = keys.iter().map(|(id, key)| json!({"id": id, "key": key.expose()})).collect();
            write_json(&path, &file)?;
            // The name must outlive a power cut too: what is sealed with a lost key is lost.
            Ok(std::fs::File::open(&self.data)?.sync_all()?)
        };
        write().map_err(|error| {
            Error::unavailable("the server's key file could not be written; nothing was changed")
                .with_source(std::io::Error::other(format!("{error:#}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_and_the_rest_of_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.json");
        std::fs::write(&path, r#"{"id": "s1", "seal_keys": [{"id": "a", "key": "1"}], "more": 5}"#).unwrap();
        let file = KeyFile { data: folder.path().to_owned(), given: false };
        file.may_change().unwrap();
        file.keep(&[("b".into(), Secret::new("2")), ("a".into(), Secret::new("1"))]).unwrap();
        let read: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let keys = json!([{"id": "b", "key": "2"}, {"id": "a", "key": "1"}]);
        assert_eq!(read, json!({"id": "s1", "seal_keys": keys, "more": 5}));
        std::fs::remove_file(&path).unwrap();
        assert!(file.keep(&[]).is_err());
        assert!(KeyFile { given: true, ..file }.may_change().is_err());
    }
}
