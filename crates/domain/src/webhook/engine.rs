//! The sender: reads what is due, attempts it, and keeps webhooks apart.
//!
//! Each webhook has a short queue of its own in memory and a bound on its attempts at once; a webhook with nothing running
//! may always begin one, so that slow ones take nothing from others. On a store that several servers share, a webhook is
//! the server's that holds its lease. A row stays pending in the store until its outcome is there, so a crash costs at most
//! a repeat under the same id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_store::{Topic, server, webhook as table, webhook_delivery as log};
use reeve_types::webhook::Webhook;
use reeve_types::{Result, Timestamp, WebhookId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{self, Ended};
use super::endpoint::{self, Endpoint, Queued};
use super::{delivery, record};
use crate::App;

/// Outcomes that wait to be stored; attempts that end meanwhile wait with theirs.
const OUTCOMES: usize = 4_096;
/// How long a stop waits for what runs.
const DRAIN: Duration = Duration::from_secs(4);
/// The server that holds a webhook says so this often.
const RENEW_MS: i64 = 2_500;
/// A server that says nothing for this long has lost its webhooks.
const LEASE_MS: i64 = 9_000;
/// A webhook that nobody holds is taken beyond the fair share after this long.
const UNWANTED_MS: i64 = 2_000;

/// Sends until `stop` fires; then lets end what runs.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    if app.webhooks.fetch.get().is_none() {
        return;
    }
    let (outcomes, stored) = mpsc::channel(OUTCOMES);
    // Bounded by the deliveries held in memory.
    let (told, in_store) = mpsc::unbounded_channel();
    let (ends, ended) = mpsc::unbounded_channel();
    let owner = format!("{}/{}", app.server_id, app.ids.next());
    let running = TaskTracker::new();
    let mut engine = Engine {
        endpoints: HashMap::new(),
        in_flight: 0,
        owner,
        lease: Lease { renew_at: Timestamp(0), until: Timestamp(0) },
        running: running.clone(),
        outcomes,
        ends,
        app: app.clone(),
    };
    // A task of its own, so that storing does not hold up the sending; it goes with this one.
    let mut recorder = JoinSet::new();
    let recording = app.clone();
    recorder.spawn(async move { record::run(&recording, stored, told).await });
    engine.send(ended, in_store, &stop).await;
    running.close();
    if tokio::time::timeout(DRAIN, running.wait()).await.is_err() {
        tracing::warn!("some deliveries did not end in time; they are repeated after the next start");
    }
    let owner = std::mem::take(&mut engine.owner);
    // The recorder ends when the last one who could send it an outcome is gone.
    drop(engine);
    if tokio::time::timeout(DRAIN, recorder.join_next()).await.is_err() {
        tracing::warn!("some outcomes of deliveries were not stored in time");
    }
    if app.store.is_shared()
        && let Err(error) = give_back(&app, &owner).await
    {
        tracing::warn!(%error, "the webhooks of this server were not given back; others take them when the lease ends");
    }
}

async fn give_back(app: &App, owner: &str) -> Result<()> {
    let mut tx = app.store.begin().await?;
    table::release(&mut tx, owner, Timestamp(0), i64::MAX).await?;
    tx.commit().await
}

struct Lease {
    renew_at: Timestamp,
    until: Timestamp,
}

/// An attempt has ended.
struct Freed {
    webhook: WebhookId,
    failed: bool,
    hold_until: Option<Timestamp>,
}

struct Engine {
    app: Arc<App>,
    owner: String,
    lease: Lease,
    endpoints: HashMap<WebhookId, Endpoint>,
    in_flight: usize,
    running: TaskTracker,
    outcomes: mpsc::Sender<Ended>,
    ends: mpsc::UnboundedSender<Freed>,
}

impl Engine {
    async fn send(
        &mut self,
        mut ended: mpsc::UnboundedReceiver<Freed>,
        mut in_store: mpsc::UnboundedReceiver<record::InStore>,
        stop: &CancellationToken,
    ) {
        let app = self.app.clone();
        let mut changes = app.store.subscribe(Topic::Webhooks);
        let mut look = true;
        let (mut freed, mut stored) = (Vec::new(), Vec::new());
        loop {
            if let Err(error) = self.pass(look, &changes).await {
                tracing::error!(%error, source = ?error.source, "webhooks could not be looked at; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            look = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = changes.changed() => {
                    look = true;
                    self.endpoints.values_mut().for_each(|e| e.dirty = true);
                }
                () = app.webhooks.due.notified() => {}
                _ = ended.recv_many(&mut freed, 1_024) => {}
                _ = in_store.recv_many(&mut stored, 1_024) => {}
                () = tokio::time::sleep(self.idle_time()) => {}
            }
            for end in freed.drain(..) {
                self.in_flight -= 1;
                if let Some(endpoint) = self.endpoints.get_mut(&end.webhook) {
                    endpoint.ended(end.failed, end.hold_until);
                }
            }
            for one in stored.drain(..) {
                if let Some(endpoint) = self.endpoints.get_mut(&one.webhook) {
                    endpoint.settled(&one.id, one.next_at);
                }
            }
            for id in app.webhooks.take_fresh() {
                if let Some(endpoint) = self.endpoints.get_mut(&id) {
                    endpoint.dirty = true;
                }
            }
        }
    }

    /// At most a second: the clock may be moved, and a wake may be lost on its way from another server.
    fn idle_time(&self) -> Duration {
        let now = self.app.now();
        let next = self.endpoints.values().filter_map(Endpoint::wake_at).min();
        let ms = next.map_or(1_000, |at| at.ms_since(now)).clamp(1, 1_000);
        Duration::from_millis(ms.unsigned_abs())
    }

    async fn pass(&mut self, look: bool, changes: &watch::Receiver<u64>) -> Result<()> {
        let shared = self.app.store.is_shared();
        let renew = shared && self.app.now() >= self.lease.renew_at;
        if renew {
            self.keep_leases().await?;
        }
        if look || renew {
            self.reload().await?;
        }
        if shared && self.app.now() >= self.lease.until {
            // Another server may have taken over by now.
            return Ok(());
        }
        self.read_rows().await?;
        if changes.has_changed().unwrap_or(false) {
            // A row may be younger than a change of its webhook that was not seen yet.
            self.reload().await?;
        }
        self.begin();
        Ok(())
    }

    /// Which webhooks are this server's, and where they lead.
    async fn reload(&mut self) -> Result<()> {
        let app = self.app.clone();
        if app.store.is_shared() {
            // A new webhook should not wait for the next turn.
            let now = app.now();
            let mut tx = app.store.begin().await?;
            let room = self.room(&mut tx).await?;
            if table::claim(&mut tx, &self.owner, Timestamp(1), now.plus_ms(LEASE_MS), room).await? > 0 {
                tx.commit().await?;
            }
        }
        let rows = {
            let mut tx = app.store.read().await?;
            match app.store.is_shared() {
                true => table::active_of(&mut tx, &self.owner).await?,
                false => table::active(&mut tx).await?,
            }
        };
        let mut rows: HashMap<WebhookId, Webhook> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        for (id, endpoint) in &mut self.endpoints {
            match rows.remove(id) {
                Some(row) => log_unreadable(id, endpoint.refresh(&app, row)),
                None => endpoint.stop(),
            }
        }
        self.endpoints.retain(|_, endpoint| endpoint.active || !endpoint.is_idle());
        for (id, row) in rows {
            match Endpoint::new(&app, row) {
                Ok(endpoint) => drop(self.endpoints.insert(id, endpoint)),
                Err(error) => log_unreadable(&id, Err(error)),
            }
        }
        Ok(())
    }

    /// How many more webhooks this server may take so that every server has about the same number.
    async fn room(&self, tx: &mut reeve_store::Tx) -> Result<i64> {
        let (all, mine) = table::shares(tx, &self.owner).await?;
        Ok((self.share(tx, all).await? - mine).max(0))
    }

    async fn share(&self, tx: &mut reeve_store::Tx, all: i64) -> Result<i64> {
        let servers = server::members(tx).await?.len().max(1) as i64;
        Ok((all + servers - 1) / servers)
    }

    async fn keep_leases(&mut self) -> Result<()> {
        let app = self.app.clone();
        let now = app.now();
        let until = now.plus_ms(LEASE_MS);
        let mut tx = app.store.begin().await?;
        table::prolong(&mut tx, &self.owner, until).await?;
        let room = self.room(&mut tx).await?;
        table::claim(&mut tx, &self.owner, now, until, room).await?;
        table::claim(&mut tx, &self.owner, now.plus_ms(-UNWANTED_MS), until, i64::MAX).await?;
        let (all, mine) = table::shares(&mut tx, &self.owner).await?;
        let surplus = mine - self.share(&mut tx, all).await?;
        if surplus > 0 {
            table::release(&mut tx, &self.owner, now, surplus).await?;
        }
        tx.commit().await?;
        (self.lease.renew_at, self.lease.until) = (now.plus_ms(RENEW_MS), until);
        Ok(())
    }

    async fn read_rows(&mut self) -> Result<()> {
        let now = self.app.now();
        let wanting: Vec<WebhookId> =
            self.endpoints.iter().filter(|(_, e)| e.wants_rows(now)).map(|(id, _)| id.clone()).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let mut tx = self.app.store.read().await?;
        let rows = log::due(&mut tx, &wanting, endpoint::PAGE).await?;
        let bodies = delivery::bodies(&self.app, &mut tx, &rows).await?;
        drop(tx);
        let mut by_webhook: HashMap<WebhookId, Vec<Queued>> = HashMap::with_capacity(wanting.len());
        for row in rows {
            let body = match row.event_seq {
                0 => Some(crate::event::envelope(&self.app, &delivery::test_event(&row)).into()),
                seq => bodies.get(&seq).cloned(),
            };
            by_webhook.entry(row.webhook_id.clone()).or_default().push((row, body));
        }
        for id in wanting {
            let rows = by_webhook.remove(&id).unwrap_or_default();
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.take_rows(rows, now);
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        let now = self.app.now();
        let limits = &self.app.config.webhooks;
        let oldest = limits.max_age.map(|age| now.plus_ms(-(age.as_millis() as i64)));
        for endpoint in self.endpoints.values_mut() {
            while let Some((delivery, body)) =
                endpoint.begin(now, limits.at_once, self.in_flight < limits.at_once_in_all)
            {
                self.in_flight += 1;
                let too_old = oldest.is_some_and(|oldest| delivery.inserted_at < oldest);
                let (app, target) = (self.app.clone(), endpoint.target.clone());
                let (outcomes, ends) = (self.outcomes.clone(), self.ends.clone());
                self.running.spawn(async move {
                    let ended = match body {
                        _ if too_old => attempt::untried(&app, &delivery, "older than the maximum age"),
                        None => attempt::untried(&app, &delivery, "its event is not in the feed any more"),
                        Some(body) => attempt::attempt(&app, &target, &delivery, body).await,
                    };
                    let failed = ended.settled.error.is_some() && ended.settled.attempted == 1;
                    let freed = Freed { webhook: ended.webhook.clone(), failed, hold_until: ended.hold_until };
                    // Both ends are only gone when the process ends; the row is still pending then.
                    outcomes.send(ended).await.ok();
                    ends.send(freed).ok();
                });
            }
        }
    }
}

fn log_unreadable(id: &WebhookId, opened: Result<()>) {
    if let Err(error) = opened {
        tracing::error!(webhook.id = %id, %error, source = ?error.source, "a webhook's secrets do not open; nothing is sent to it");
    }
}
