//! The data directory: its lock, keys, credentials and `run.json`. Readable by the owner only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reeve_domain::config::StaticKeys;
use reeve_domain::seal::Seal;
use reeve_types::id::Ids;
use reeve_types::{Secret, ServerId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Settings;

/// Letters of a server id.
const ID_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The opened directory; held for as long as the server runs.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// What people and scripts on this machine may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// The console's URL.
    pub url: String,
    /// The first admin.
    pub username: String,
    /// Its password.
    pub password: String,
    /// `MASTER_KEY`
    pub master_key: String,
    /// `API_KEY`
    pub api_key: String,
    /// `METRICS_KEY`
    pub metrics_key: String,
    /// `MCP_KEY`
    pub mcp_key: String,
    /// `PROXY_KEY`
    pub proxy_key: String,
}

#[derive(Serialize, Deserialize)]
struct ServerFile {
    id: String,
    seal_keys: Vec<SealKey>,
}

#[derive(Serialize, Deserialize)]
struct SealKey {
    id: String,
    key: String,
}

impl SealKey {
    /// `KEY`, or `ID:KEY`. The id of a bare key follows from it, so that all servers that are given it call it the same.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((id, key)) => Self { id: id.to_owned(), key: key.to_owned() },
            None => {
                let digest = Sha256::digest(format!("reeve.seal_key:{text}"));
                Self { id: in_letters(&digest[..6]), key: text.to_owned() }
            }
        }
    }
}

/// Who this server is.
pub struct ServerIdentity {
    /// Stable over restarts.
    pub id: ServerId,
    /// Newest key first.
    pub seal: Seal,
}

impl DataDir {
    /// Opens or makes the directory and takes its lock.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the data directory {} cannot be made", path.display()))?;
        let lock_path = path.join("lock");
        let lock = private().open(&lock_path).with_context(|| format!("{} cannot be opened", lock_path.display()))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another reeve server runs on {}; stop it, or choose another directory with --data", path.display());
        }
        let opened = Self { path: path.to_owned(), _lock: lock };
        // Left by a server that was killed; nobody shall take it for this one before it is ready.
        if opened.path.join("run.json").exists() {
            opened.remove_run();
        }
        Ok(opened)
    }

    /// Whether a server runs on the directory. Makes and changes nothing.
    pub fn is_in_use(path: &Path) -> bool {
        File::open(path.join("lock")).is_ok_and(|lock| {
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
                .is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK)
        })
    }

    /// This server's id and sealing keys; made at the first start. A key in the settings comes before the kept ones.
    pub fn identity(&self, settings: &Settings, ids: &dyn Ids) -> Result<ServerIdentity> {
        let path = self.path.join("server.json");
        let mut file: ServerFile = match read_json(&path)? {
            Some(file) => file,
            None => {
                // A key that is given is the only one: nothing was ever sealed here with another.
                let key = match &settings.seal_key {
                    Some(given) => SealKey::parse(given),
                    None => SealKey::parse(Seal::fresh_key(ids).expose()),
                };
                let file = ServerFile { id: fresh_id(ids, 12), seal_keys: vec![key] };
                write_json(&path, &file)?;
                file
            }
        };
        if let Some(given) = settings.seal_key.as_deref().map(SealKey::parse)
            && file.seal_keys.first().is_none_or(|first| first.key != given.key)
        {
            file.seal_keys.retain(|kept| kept.key != given.key && kept.id != given.id);
            file.seal_keys.insert(0, given);
            write_json(&path, &file)?;
        }
        let keys = file.seal_keys.into_iter().map(|k| (k.id, Secret::new(k.key))).collect();
        Ok(ServerIdentity { id: ServerId(file.id), seal: Seal::new(keys)? })
    }

    /// The kept credentials with what the settings set, and whether this is the first start. Generates what is missing.
    pub fn credentials(&self, settings: &Settings, ids: &dyn Ids) -> Result<(Credentials, bool)> {
        let path = self.path.join("credentials.json");
        let kept: Option<Credentials> = read_json(&path)?;
        // A start that failed on its way has told nobody what it generated.
        let first = kept.as_ref().is_none_or(|kept| kept.url.is_empty());
        let mut c = kept.unwrap_or_default();
        if c.username.is_empty() {
            c.username = "admin".into();
        }
        // Empty on a server whose users another one made.
        let made_elsewhere = !first && c.password.is_empty() && settings.admin_password.is_none();
        if !made_elsewhere {
            fill(&mut c.password, settings.admin_password.as_ref(), || fresh_text(ids, 15));
        }
        fill(&mut c.master_key, settings.master_key.as_ref(), || fresh_text(ids, 32));
        fill(&mut c.api_key, settings.api_key.as_ref(), || fresh_text(ids, 32));
        fill(&mut c.metrics_key, settings.metrics_key.as_ref(), || fresh_text(ids, 32));
        fill(&mut c.mcp_key, settings.mcp_key.as_ref(), || fresh_text(ids, 32));
        fill(&mut c.proxy_key, settings.proxy_key.as_ref(), || fresh_text(ids, 32));
        self.write_credentials(&c)?;
        Ok((c, first))
    }

    /// Writes `credentials.json`.
    pub fn write_credentials(&self, credentials: &Credentials) -> Result<()> {
        write_json(&self.path.join("credentials.json"), credentials)
    }

    /// Writes `run.json`: the server is ready. Clients on this machine trust the certificate that it names.
    pub fn write_run(&self, listeners: &BTreeMap<String, String>, tls: Option<&Path>) -> Result<()> {
        let certificate = tls.map(|folder| std::path::absolute(folder.join("cert.pem"))).transpose()?;
        let run = serde_json::json!({
            "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"), "listeners": listeners,
            "tls_certificate": certificate,
        });
        write_json(&self.path.join("run.json"), &run)
    }

    /// Removes `run.json`: the server stopped.
    pub fn remove_run(&self) {
        if let Err(error) = std::fs::remove_file(self.path.join("run.json")) {
            tracing::warn!(%error, "run.json could not be removed");
        }
    }
}

impl Credentials {
    /// The static keys.
    pub fn keys(&self) -> StaticKeys {
        StaticKeys {
            master: Secret::new(&*self.master_key),
            api: Secret::new(&*self.api_key),
            metrics: Secret::new(&*self.metrics_key),
            mcp: Secret::new(&*self.mcp_key),
            proxy: Secret::new(&*self.proxy_key),
        }
    }
}

fn fill(field: &mut String, given: Option<&String>, fresh: impl FnOnce() -> String) {
    match given {
        Some(given) => field.clone_from(given),
        None if field.is_empty() => *field = fresh(),
        None => {}
    }
}

fn fresh_text(ids: &dyn Ids, bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    ids.fill(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer)
}

fn fresh_id(ids: &dyn Ids, letters: usize) -> String {
    let mut buffer = vec![0u8; letters];
    ids.fill(&mut buffer);
    in_letters(&buffer)
}

fn in_letters(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(ID_LETTERS[usize::from(*b) % ID_LETTERS.len()])).collect()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    serde_json::from_str(&text)
        .map(Some)
        .with_context(|| format!("{} is damaged; restore it from a backup", path.display()))
}

/// Writes a file for the owner only, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = private().truncate(true).open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(serde_json::to_string_pretty(value)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
