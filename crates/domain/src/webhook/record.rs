//! Outcomes of attempts on their way into the store: many per transaction, tried again until they are in.

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_store::{Tx, event as feed, webhook as table, webhook_delivery as log};
use reeve_types::webhook::{DeliveryState, WebhookState};
use reeve_types::{Actor, DeliveryId, Result, Timestamp, WebhookId};
use serde_json::json;
use tokio::sync::mpsc;

use super::attempt::{Ended, Verdict};
use crate::{App, audit, event};

/// Outcomes in one transaction.
const BATCH: usize = 1_000;
/// Failures before a webhook can be disabled for the time it has failed.
const FEW: i64 = 10;

/// What the sender is told once an outcome is in the store.
pub(super) struct InStore {
    pub(super) webhook: WebhookId,
    pub(super) id: DeliveryId,
    pub(super) next_at: Option<Timestamp>,
}

/// Stores outcomes until nobody sends any more.
pub(super) async fn run(app: &App, mut outcomes: mpsc::Receiver<Ended>, told: mpsc::UnboundedSender<InStore>) {
    let mut batch = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        let mut pause_ms = 50;
        while let Err(error) = store(app, &batch).await {
            tracing::error!(%error, source = ?error.source, outcomes = batch.len(), "outcomes of deliveries could not be stored; trying again");
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = (pause_ms * 2).min(2_000);
        }
        for ended in batch.drain(..) {
            count(app, ended.verdict);
            let next_at = (ended.settled.state == DeliveryState::Pending).then_some(ended.settled.next_at);
            // A sender that is gone does not want to know.
            told.send(InStore { webhook: ended.webhook, id: ended.settled.id, next_at }).ok();
        }
    }
}

fn count(app: &App, verdict: Verdict) {
    match verdict {
        Verdict::Delivered => app.counters.webhook_delivered.add(1),
        Verdict::Again => app.counters.webhook_put_off.add(1),
        Verdict::GivenUp | Verdict::Gone => app.counters.webhook_given_up.add(1),
        Verdict::Untried => {}
    }
}

/// What a batch says about one webhook.
#[derive(Default)]
struct Health {
    /// Failures after the last success of the batch.
    failures: i64,
    succeeded: bool,
    gone: bool,
    problem: String,
}

async fn store(app: &App, batch: &[Ended]) -> Result<()> {
    let now = app.now();
    let settled: Vec<_> = batch.iter().map(|ended| ended.settled.clone()).collect();
    let health = health(batch);
    let mut tx = app.store.begin().await?;
    log::settle(&mut tx, &settled, now).await?;
    let succeeded: Vec<&str> = health.iter().filter(|(_, h)| h.succeeded).map(|(id, _)| id.as_str()).collect();
    if !succeeded.is_empty() {
        let ids = serde_json::to_string(&succeeded).map_err(reeve_types::Error::internal)?;
        table::recovered(&mut tx, &ids).await?;
    }
    let mut disabled = Vec::new();
    for (id, health) in &health {
        if health.failures > 0
            && let Some((since, failures)) = table::failed(&mut tx, id, health.failures, now).await?
        {
            let limit_ms = app.config.webhooks.disable_after.as_millis() as i64;
            if failures >= FEW && now.ms_since(since) >= limit_ms {
                let reason = format!("no attempt has succeeded since {}: {}", since.rfc3339_secs(), health.problem);
                disabled.push((id, reason));
                continue;
            }
        }
        if health.gone {
            disabled.push((id, "the endpoint answered 410: it is gone".to_owned()));
        }
    }
    for (id, reason) in disabled {
        disable(app, &mut tx, id, &reason, now).await?;
    }
    tx.commit().await
}

fn health(batch: &[Ended]) -> BTreeMap<WebhookId, Health> {
    let mut health: BTreeMap<WebhookId, Health> = BTreeMap::new();
    for ended in batch {
        let of = health.entry(ended.webhook.clone()).or_default();
        match ended.verdict {
            Verdict::Untried => {}
            Verdict::Delivered => (of.succeeded, of.failures) = (true, 0),
            Verdict::Again | Verdict::GivenUp | Verdict::Gone => {
                of.failures += 1;
                of.gone |= ended.verdict == Verdict::Gone;
                of.problem = ended.settled.error.clone().unwrap_or_default();
            }
        }
    }
    health
}

/// Disables a webhook, with an entry and an event. Nothing when it is disabled or gone.
pub(super) async fn disable(app: &App, tx: &mut Tx, id: &WebhookId, reason: &str, now: Timestamp) -> Result<()> {
    let from = [WebhookState::Active, WebhookState::Paused];
    if !table::set_state(tx, id, &from, WebhookState::Disabled, Some(reason), now).await? {
        return Ok(());
    }
    tracing::warn!(webhook.id = %id, reason, "a webhook was disabled");
    audit::record(app, tx, &Actor::system(), "webhook.disable", id.as_str(), json!({"reason": reason})).await?;
    feed::append(tx, &*app.ids, now, &[event::of_disabled_webhook(id, reason, now)]).await
}
