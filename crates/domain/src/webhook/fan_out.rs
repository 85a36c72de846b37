//! From the feed to deliveries: each event once for each webhook that is subscribed to it, in the order of the feed.
//!
//! The position up to which that was done moves in the transaction that inserts the deliveries, so none is lost or made
//! twice, whenever the process ends and however many servers are at it.

use std::collections::BTreeSet;
use std::time::Duration;

use reeve_store::{Topic, dialect, event as feed, webhook as table, webhook_delivery as log};
use reeve_types::{Result, WebhookId};
use tokio_util::sync::CancellationToken;

use super::delivery::waiting;
use crate::App;

/// Events read at a time.
const EVENTS: i64 = 500;
/// Deliveries in one transaction; the events of which the first exceeds it come with the next.
const DELIVERIES: usize = 2_000;

/// Follows the feed until `stop` fires.
pub async fn run(app: &App, stop: &CancellationToken) {
    let mut events = app.store.subscribe(Topic::Events);
    let mut webhooks = app.store.subscribe(Topic::Webhooks);
    loop {
        events.borrow_and_update();
        webhooks.borrow_and_update();
        // Where nobody subscribed, events wake nobody.
        let subscribed = match pass(app).await {
            Ok(subscribed) => subscribed,
            Err(error) => {
                tracing::error!(%error, source = ?error.source, "the feed was not turned into deliveries; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
                true
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = webhooks.changed() => {}
            _ = events.changed(), if subscribed => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}

/// Turns everything that is in the feed into deliveries. Says whether anybody is subscribed.
///
/// # Errors
/// As the store.
pub async fn pass(app: &App) -> Result<bool> {
    let subscribed = {
        let mut tx = app.store.read().await?;
        let (position, last) = table::feed_lag(&mut tx).await?;
        let subscribed = !table::subscriptions(&mut tx).await?.is_empty();
        if !subscribed || position >= last {
            return Ok(subscribed);
        }
        subscribed
    };
    while step(app).await? {}
    Ok(subscribed)
}

/// One transaction. Says whether there may be more.
async fn step(app: &App) -> Result<bool> {
    let mut tx = app.store.begin().await?;
    let Some(position) = table::feed_position(&mut tx).await? else { return Ok(false) };
    // Events first: a webhook that is committed between the two reads did not exist when they happened.
    let mut from = position;
    let mut events = feed::after(&mut tx, from, &[], EVENTS).await?;
    let subscriptions = table::subscriptions(&mut tx).await?;
    let Some(first) = subscriptions.iter().map(|(_, _, start)| *start).min() else { return Ok(false) };
    if first > from {
        // Nobody wants what happened before the first subscription began.
        from = first;
        events = feed::after(&mut tx, from, &[], EVENTS).await?;
    }
    let full = events.len() as i64 == EVENTS;
    let now = app.now();
    let mut deliveries = Vec::new();
    let mut receivers: BTreeSet<&WebhookId> = BTreeSet::new();
    let mut done = from;
    let mut taken = 0;
    for event in &events {
        if deliveries.len() >= DELIVERIES {
            break;
        }
        for (id, kinds, start) in &subscriptions {
            if event.seq > *start && kinds.contains(&event.kind) {
                deliveries.push(waiting(id, event, now));
                receivers.insert(id);
            }
        }
        done = event.seq;
        taken += 1;
    }
    if done == position {
        return Ok(false);
    }
    match log::insert(&mut tx, &deliveries).await {
        Ok(_) => {}
        // A webhook was deleted at this moment.
        Err(error) if dialect::is_foreign_key_violation(&error) => return Ok(true),
        Err(error) => return Err(error),
    }
    table::set_feed_position(&mut tx, done).await?;
    if app.store.is_shared() && !receivers.is_empty() {
        tx.wake(Topic::Webhooks);
    }
    tx.commit().await?;
    if !receivers.is_empty() {
        app.counters.webhook_fan_outs.add(taken as u64);
        for event in events.iter().take(taken) {
            app.webhooks.payloads.put(event.seq, crate::event::envelope(app, event).into());
        }
        app.webhooks.add_fresh(receivers.into_iter().cloned());
    }
    Ok(full || taken < events.len())
}
