//! The application: what every use case is given.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use reeve_jobs::{Pokes, Registry};
use reeve_ports::agents::NoAgents;
use reeve_ports::fetch::NoFetch;
use reeve_ports::remote::RemoteHosts;
use reeve_ports::{AgentLink, BackupSite, Fetch, SealKeys};
use reeve_store::{Store, Topic, Tx};
use reeve_types::id::Ids;
use reeve_types::{Actor, Clock, Error, Result, ServerId, Timestamp};

use crate::agent::dispatch::InFlight;
use crate::agent::intake::Intake;
use crate::agent::presence::Presence;
use crate::config::Config;
use crate::counters::Counters;
use crate::node_metrics::Samples;
use crate::seal::Seal;
use crate::server::Membership;
use crate::{audit, background, backup, idempotency, identity, webhook};

/// Everything a use case needs. Shared as `Arc<App>`.
pub struct App {
    /// The database.
    pub store: Store,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids and randomness.
    pub ids: Arc<dyn Ids>,
    /// Sealing of secrets.
    pub seal: Seal,
    /// Settings.
    pub config: Config,
    /// This server.
    pub server_id: ServerId,
    /// When this server started.
    pub started_at: Timestamp,
    /// What it counts about itself.
    pub counters: Counters,
    /// Nodes' samples on their way into the store.
    pub samples: Samples,
    /// Which connected agents were heard of lately.
    pub presence: Presence,
    /// Reports of agents on their way into the store.
    pub intake: Intake,
    /// Executions that were handed to a connection and not taken yet.
    pub in_flight: InFlight,
    /// This server among the others.
    pub membership: Membership,
    /// True while there are more nodes than capacity; shared with the surfaces' gate.
    pub degraded: Arc<AtomicBool>,
    /// What recurs and which kinds of jobs there are; knows how the former are doing in this process.
    pub registry: Arc<Registry<App>>,
    pokes: Pokes,
    pub(crate) audit: audit::Chain,
    pub(crate) identity: identity::State,
    /// Apart from the passwords of users: who guesses at nodes' doors does not keep people from logging in.
    pub(crate) ssh_passwords: identity::password::Passwords,
    pub(crate) webhooks: webhook::State,
    /// The way to providers of machines, and what is remembered of them.
    pub clouds: crate::catalogue::Clouds,
    /// When this process put another key in front of the sealing keys, in microseconds; 0 when it has not.
    pub(crate) seal_changed_at: AtomicI64,
    remote: OnceLock<Arc<dyn RemoteHosts>>,
    agents: OnceLock<Arc<dyn AgentLink>>,
    seal_keys: OnceLock<Arc<dyn SealKeys>>,
    backup_site: OnceLock<Arc<dyn BackupSite>>,
    /// Backups that go out to callers at the same time.
    pub(crate) backup_downloads: Arc<tokio::sync::Semaphore>,
}

impl App {
    /// Puts the parts together.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        seal: Seal,
        config: Config,
        server_id: ServerId,
    ) -> Self {
        let started_at = clock.now();
        let registry = Arc::new(background::registry(&config));
        let identity = identity::State::new(&config.keys, store.subscribe(Topic::Access));
        Self {
            store,
            clock,
            ids,
            seal,
            config,
            server_id,
            started_at,
            counters: Counters::default(),
            samples: Samples::default(),
            presence: Presence::default(),
            intake: Intake::new(),
            in_flight: InFlight::default(),
            membership: Membership::default(),
            degraded: Arc::new(AtomicBool::new(false)),
            pokes: registry.pokes(),
            registry,
            audit: audit::Chain::default(),
            identity,
            ssh_passwords: identity::password::Passwords::default(),
            webhooks: webhook::State::default(),
            clouds: crate::catalogue::Clouds::default(),
            seal_changed_at: AtomicI64::new(0),
            remote: OnceLock::new(),
            agents: OnceLock::new(),
            seal_keys: OnceLock::new(),
            backup_site: OnceLock::new(),
            backup_downloads: Arc::new(tokio::sync::Semaphore::new(backup::download::AT_ONCE)),
        }
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Opens the transaction of a use case that changes something. When the request carries an idempotency key, the key
    /// is taken inside this transaction, so that key and effect stand or fall together.
    ///
    /// # Errors
    /// Conflict when the same key is being worked on.
    pub async fn begin(&self, actor: &Actor) -> Result<Tx> {
        let mut tx = self.store.begin().await?;
        idempotency::take(self, &mut tx, actor).await?;
        Ok(tx)
    }

    /// Whether there are more nodes than the servers have room for.
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Rollouts may be able to go on.
    pub(crate) fn rollouts_changed(&self) {
        self.pokes.poke(background::ROLLOUT);
    }

    /// Self-updates wait, or something a rollout of one waits for has happened.
    pub(crate) fn self_updates_changed(&self) {
        self.pokes.poke(background::SELF_UPDATE);
    }

    /// A command waits for its fan-out.
    pub(crate) fn commands_changed(&self) {
        self.pokes.poke(background::FAN_OUT);
    }

    /// Connects the shell that holds agents' connections. Once, at start.
    pub fn set_agents(&self, link: Arc<dyn AgentLink>) {
        if self.agents.set(link).is_err() {
            tracing::error!("the way to agents was set twice; the first one stays");
        }
    }

    /// Connects the shell that sends requests to servers of others. Once, at start, before the loops.
    pub fn set_fetch(&self, fetch: Arc<dyn Fetch>) {
        if self.webhooks.fetch.set(fetch).is_err() {
            tracing::error!("the way to servers of others was set twice; the first one stays");
        }
    }

    /// Connects the shell that rents machines. Once, at start.
    pub fn set_clouds(&self, clouds: Arc<dyn reeve_ports::CloudFactory>) {
        self.clouds.set(clouds);
    }

    /// Connects the shell that reaches hosts over SSH. Once, at start.
    pub fn set_remote(&self, remote: Arc<dyn RemoteHosts>) {
        if self.remote.set(remote).is_err() {
            tracing::error!("the way to hosts was set twice; the first one stays");
        }
    }

    /// The way to hosts over SSH.
    ///
    /// # Errors
    /// Unavailable where there is none.
    pub fn remote(&self) -> Result<&dyn RemoteHosts> {
        let remote = self.remote.get().map(|remote| &**remote);
        remote.ok_or_else(|| reeve_types::Error::unavailable("this server has no way to hosts over SSH"))
    }

    /// The way to servers of others.
    pub fn fetch(&self) -> &dyn Fetch {
        match self.webhooks.fetch.get() {
            Some(fetch) => &**fetch,
            None => &NoFetch,
        }
    }

    /// Connects the place where the sealing keys are kept. Once, at start; without it they cannot be rotated.
    pub fn set_seal_keys(&self, keys: Arc<dyn SealKeys>) {
        if self.seal_keys.set(keys).is_err() {
            tracing::error!("the place of the sealing keys was set twice; the first one stays");
        }
    }

    pub(crate) fn seal_keys(&self) -> Option<&dyn SealKeys> {
        self.seal_keys.get().map(|keys| &**keys)
    }

    /// Connects the machine that backups are made of. Once, at start; without it the server makes none by itself.
    pub fn set_backup_site(&self, site: Arc<dyn BackupSite>) {
        if self.backup_site.set(site).is_err() {
            tracing::error!("the site of backups was set twice; the first one stays");
        }
    }

    pub(crate) fn backup_site(&self) -> Result<&dyn BackupSite> {
        let site = self.backup_site.get().map(|site| &**site);
        site.ok_or_else(|| Error::conflict("this server has no data directory to back up"))
    }

    /// The way to connected agents.
    pub fn agents(&self) -> &dyn AgentLink {
        match self.agents.get() {
            Some(link) => &**link,
            None => &NoAgents,
        }
    }
}
