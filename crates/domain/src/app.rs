//! The application: what every use case is given.

use std::sync::{Arc, OnceLock};

use reeve_ports::AgentLink;
use reeve_ports::agents::NoAgents;
use reeve_store::{Store, Topic, Tx};
use reeve_types::id::Ids;
use reeve_types::{Actor, Clock, Result, ServerId, Timestamp};

use crate::config::Config;
use crate::seal::Seal;
use crate::{audit, idempotency, identity};

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
    pub(crate) audit: audit::Chain,
    pub(crate) identity: identity::State,
    agents: OnceLock<Arc<dyn AgentLink>>,
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
        let identity = identity::State::new(&config.keys, store.subscribe(Topic::Access));
        let audit = audit::Chain::default();
        Self { store, clock, ids, seal, config, server_id, audit, identity, agents: OnceLock::new() }
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

    /// Connects the shell that holds agents' connections. Once, at start.
    pub fn set_agents(&self, link: Arc<dyn AgentLink>) {
        if self.agents.set(link).is_err() {
            tracing::error!("the way to agents was set twice; the first one stays");
        }
    }

    /// The way to connected agents.
    pub fn agents(&self) -> &dyn AgentLink {
        match self.agents.get() {
            Some(link) => &**link,
            None => &NoAgents,
        }
    }
}
