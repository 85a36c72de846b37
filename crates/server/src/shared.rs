//! What every server on one PostgreSQL must have in common: the static keys, and the key pair by which agents know their
//! server. The first one to start provides it; it is kept sealed in the store, and the others take it over.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reeve_domain::seal::{Seal, rotate::setting_place};
use reeve_store::{Store, setting};
use reeve_types::id::Ids;
use reeve_types::{Clock, SystemClock};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::data_dir::Credentials;

/// The static keys.
const KEYS: &str = "shared.keys";
/// Certificate and key of the agents' listener.
const AGENTS_TLS: &str = "shared.agents_tls";

#[derive(Serialize, Deserialize)]
struct Keys {
    master: String,
    api: String,
    metrics: String,
    mcp: String,
    proxy: String,
}

#[derive(Serialize, Deserialize)]
struct AgentsTls {
    cert: String,
    key: String,
}

/// Takes over the static keys that the settings do not set. Does nothing on a store that only one server can use.
pub async fn keys(store: &Store, seal: &Seal, ids: &dyn Ids, settings: &Settings, own: &mut Credentials) -> Result<()> {
    if !store.is_shared() {
        return Ok(());
    }
    let fresh = Keys {
        master: own.master_key.clone(),
        api: own.api_key.clone(),
        metrics: own.metrics_key.clone(),
        mcp: own.mcp_key.clone(),
        proxy: own.proxy_key.clone(),
    };
    let shared: Keys = agree(store, seal, ids, KEYS, &fresh).await?;
    for (field, given, shared) in [
        (&mut own.master_key, &settings.master_key, shared.master),
        (&mut own.api_key, &settings.api_key, shared.api),
        (&mut own.metrics_key, &settings.metrics_key, shared.metrics),
        (&mut own.mcp_key, &settings.mcp_key, shared.mcp),
        (&mut own.proxy_key, &settings.proxy_key, shared.proxy),
    ] {
        if given.is_none() {
            *field = shared;
        }
    }
    Ok(())
}

/// Puts the common key pair of the agents' listener into `folder`, as `cert.pem` and `key.pem`.
pub async fn agents_tls(store: &Store, seal: &Seal, ids: &dyn Ids, folder: &Path) -> Result<()> {
    if !store.is_shared() {
        return Ok(());
    }
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let own = AgentsTls { cert: fs::read_to_string(&cert)?, key: fs::read_to_string(&key)? };
    let shared: AgentsTls = agree(store, seal, ids, AGENTS_TLS, &own).await?;
    if shared.key != own.key || shared.cert != own.cert {
        write(&cert, &shared.cert)?;
        write(&key, &shared.key)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// What the store has under `name`; `own` where there is nothing yet.
async fn agree<T: Serialize + serde::de::DeserializeOwned>(
    store: &Store,
    seal: &Seal,
    ids: &dyn Ids,
    name: &str,
    own: &T,
) -> Result<T> {
    let mut tx = store.begin().await?;
    if setting::get(&mut tx, name).await?.is_none() {
        let sealed = seal.seal(ids, setting_place(name), &serde_json::to_string(own)?);
        setting::put_new(&mut tx, name, &sealed, SystemClock.now()).await?;
    }
    let kept = setting::get(&mut tx, name).await?;
    tx.commit().await?;
    let Some(kept) = kept else { bail!("the setting {name} vanished from the store") };
    let text = seal.open(setting_place(name), &kept).map_err(|error| {
        let cause = error.source.map(|source| source.to_string()).unwrap_or_default();
        anyhow::anyhow!(
            "this server's sealing key is not that of the other servers on this store ({cause}): start it with \
             REEVE_SEAL_KEY set to `seal_keys[0].key` of the first server's server.json"
        )
    })?;
    serde_json::from_str(text.expose()).with_context(|| format!("the setting {name} is damaged"))
}
