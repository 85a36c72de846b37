//! SSH keys in a project: an order names them by id, and a project holds a key at most once, under anybody's name.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use reeve_ports::cloud::SshKey;
use reeve_ports::{CloudError, CloudErrorKind};
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::Hetzner;
use super::shape::{Key, KeyAnswer};
use crate::cloud::wire::Call;

/// Keys to remember; beyond this the memory starts over.
const MOST: usize = 1_000;

/// Ids of keys by their content.
#[derive(Default)]
pub struct KnownKeys(Mutex<BTreeMap<String, u64>>);

impl KnownKeys {
    pub async fn forget(&self) {
        self.0.lock().await.clear();
    }
}

impl Hetzner {
    /// The project's id of a key, which is put there when it is missing. One at a time, so that many orders with the
    /// same key upload it once.
    pub(super) async fn key(&self, key: &SshKey) -> Result<u64, CloudError> {
        let content = content(&key.public_key);
        let mut known = self.keys.0.lock().await;
        if let Some(id) = known.get(&content) {
            return Ok(*id);
        }
        let id = self.ensured(key, &content).await?;
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(content, id);
        Ok(id)
    }

    async fn ensured(&self, key: &SshKey, content: &str) -> Result<u64, CloudError> {
        let name = format!("reeve-{}", &hex::encode(Sha256::digest(content))[..24]);
        let named: Vec<Key> = self.pages(format!("/ssh_keys?name={name}&"), "ssh_keys").try_collect().await?;
        if let Some(found) = named.iter().find(|k| self::content(&k.public_key) == content) {
            return Ok(found.id);
        }
        let body = json!({"name": name, "public_key": key.public_key, "labels": {"reeve": "key"}});
        match self.send(Call::change(Method::POST, "/ssh_keys").json(&body)).await {
            Ok(reply) => Ok(reply.json::<KeyAnswer>()?.ssh_key.id),
            Err(error) if error.kind == CloudErrorKind::Conflict => {
                let mut keys = self.pages::<Key>("/ssh_keys?".to_owned(), "ssh_keys");
                while let Some(found) = keys.try_next().await? {
                    if self::content(&found.public_key) == content {
                        return Ok(found.id);
                    }
                }
                Err(error)
            }
            Err(error) if matches!(error.kind, CloudErrorKind::Invalid { .. }) => {
                Err(CloudError { kind: CloudErrorKind::Invalid { field: "ssh_keys" }, ..error })
            }
            Err(error) => Err(error),
        }
    }
}

/// Kind and blob; the comment does not make another key.
fn content(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
