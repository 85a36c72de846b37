//! Users, logins, tokens, and who is behind a bearer credential.
//!
//! Secrets leave this module once, to the one who is to have them; the store gets hashes. Must not know HTTP.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reeve_store::{Topic, login_failure, refresh_token};
use reeve_types::id::Ids;
use reeve_types::{Result, Secret};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::App;
use crate::config::StaticKeys;

pub mod access_token;
pub mod api_token;
pub mod authenticate;
pub mod bootstrap;
pub mod me;
pub mod password;
pub mod session;
pub mod throttle;
pub mod user;

/// What this process keeps in memory for identity.
pub(crate) struct State {
    pub(crate) passwords: password::Passwords,
    pub(crate) cache: authenticate::Cache,
    pub(crate) uses: api_token::Uses,
}

impl State {
    pub(crate) fn new(keys: &StaticKeys, access: watch::Receiver<u64>) -> Self {
        Self {
            passwords: password::Passwords::default(),
            cache: authenticate::Cache::new(keys, access),
            uses: api_token::Uses::default(),
        }
    }
}

/// Rows dropped per transaction.
const BATCH: i64 = 1_000;

/// Writes the last uses of API tokens that this process has seen. Its loop calls it about once a minute.
///
/// # Errors
/// As the store.
pub async fn write_uses(app: &App) -> Result<()> {
    api_token::write_uses(app).await
}

/// Drops what is past its time: refresh tokens, failed logins. Called by its schedule.
///
/// # Errors
/// As the store. What was dropped until then stays dropped.
pub async fn prune(app: &App) -> Result<()> {
    let now = app.now();
    loop {
        let mut tx = app.store.begin().await?;
        let sessions = refresh_token::delete_expired(&mut tx, now, BATCH).await?;
        let forgotten = now.plus_ms(-throttle::MEMORY_MS);
        let failures = login_failure::delete_before(&mut tx, forgotten, BATCH).await?;
        tx.commit().await?;
        if sessions < BATCH as u64 && failures < BATCH as u64 {
            return Ok(());
        }
    }
}

/// Tells the caches of every server that rights changed, once `tx` is committed.
fn rights_changed(tx: &mut reeve_store::Tx) {
    tx.wake(Topic::Access);
}

/// 32 random bytes as text.
fn fresh_secret(ids: &dyn Ids) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    ids.fill(&mut *bytes);
    Secret::new(URL_SAFE_NO_PAD.encode(*bytes))
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn sha256_hex(text: &str) -> String {
    hex::encode(sha256(text))
}
