//! Use cases against real databases, with a clock that is moved by hand and a fake for the way to agents.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agents;
mod aliases;
mod audit;
mod backup;
mod backup_schedule;
mod clusters;
mod commands;
mod idempotency;
mod identity;
mod jobs;
mod node_metrics;
mod planted_secrets;
mod provisioning;
mod seal;
mod self_updates;
mod servers;
mod ssh;
mod webhooks;
mod world;

use std::sync::Arc;
use std::time::Duration;

use reeve_domain::App;
use reeve_domain::config::{Config, StaticKeys};
use reeve_domain::seal::Seal;
use reeve_testkit::db::TestDb;
use reeve_types::access::{IdempotencyKey, RequestContext};
use reeve_types::id::SystemIds;
use reeve_types::{Actor, ManualClock, Secret, Timestamp};

/// An app over a test database, with a clock to be moved by hand.
pub(crate) struct Bench {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) db: TestDb,
}

pub(crate) fn seal_key(byte: u8) -> Secret {
    use base64::Engine;
    Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([byte; 32]))
}

pub(crate) fn keys() -> StaticKeys {
    let key = |word: &str| Secret::new(format!("{word}-{word}-{word}"));
    StaticKeys { master: key("master"), api: key("api"), metrics: key("metrics"), mcp: key("mcp"), proxy: key("proxy") }
}

pub(crate) fn app_with(db: &TestDb, clock: Arc<ManualClock>, seal_keys: &[(&str, u8)]) -> Arc<App> {
    let seal = Seal::new(seal_keys.iter().map(|(id, byte)| ((*id).to_owned(), seal_key(*byte))).collect()).unwrap();
    let mut config = Config::with_keys(keys());
    config.access_token_life = Duration::from_secs(900);
    config.refresh_token_life = Duration::from_secs(3600);
    Arc::new(App::new(db.store.clone(), clock, Arc::new(SystemIds), seal, config, "server".into()))
}

impl Bench {
    pub(crate) fn new(db: TestDb) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000_000)));
        Self { app: app_with(&db, clock.clone(), &[("k1", 1)]), clock, db }
    }

    pub(crate) async fn sql(&self, sql: &str) -> u64 {
        let mut tx = self.db.store.begin().await.unwrap();
        let rows = tx.execute(sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
        rows
    }

    pub(crate) async fn count(&self, from: &str) -> i64 {
        let mut tx = self.db.store.read().await.unwrap();
        tx.one(&format!("SELECT count(*) FROM {from}"), &[]).await.unwrap().get().unwrap()
    }
}

pub(crate) fn nobody_from(remote: &str) -> Actor {
    Actor { request: RequestContext { remote: remote.into(), ..Default::default() }, ..Actor::anonymous() }
}

pub(crate) fn with_key(actor: &Actor, request_id: &str, key: &str, fingerprint: &str) -> Actor {
    let idempotency = Some(IdempotencyKey { key: key.into(), fingerprint: fingerprint.into() });
    Actor {
        request: RequestContext { request_id: request_id.into(), remote: String::new(), idempotency },
        ..actor.clone()
    }
}
