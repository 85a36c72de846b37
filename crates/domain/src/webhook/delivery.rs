//! The delivery log: seeing it, sending again, and trying a webhook out.

use std::collections::HashMap;

use bytes::Bytes;
use reeve_store::{Topic, Tx, event as feed, webhook as table, webhook_delivery as log};
use reeve_types::event::Event;
use reeve_types::webhook::{Delivery, DeliveryFilter, DeliveryState, Webhook, WebhookState};
use reeve_types::{Actor, DeliveryId, Error, EventId, Page, Paged, Permission, Range, Result, Timestamp, WebhookId};
use serde_json::json;

use super::rules::delivery_id;
use crate::{App, audit, authz};

/// The type of a test event. It is in no feed and cannot be subscribed to.
pub const TEST: &str = "reeve.webhook.test";
/// Events that one call of [`redeliver_since`] looks at.
const MOST_EVENTS: i64 = 10_000;

/// A page of the log, the newest first.
///
/// # Errors
/// NotFound when the filter names a webhook that does not exist.
pub async fn list(app: &App, actor: &Actor, filter: &DeliveryFilter, page: Page) -> Result<Paged<Delivery>> {
    authz::require(actor, Permission::WebhooksRead)?;
    let mut tx = app.store.read().await?;
    if let Some(id) = &filter.webhook_id {
        table::by_id(&mut tx, id).await?.ok_or_else(super::absent)?;
    }
    log::list(&mut tx, filter, page).await
}

/// One delivery.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, id: &DeliveryId) -> Result<Delivery> {
    authz::require(actor, Permission::WebhooksRead)?;
    log::by_id(&mut app.store.read().await?, id).await?.ok_or_else(|| Error::not_found("delivery"))
}

/// Sends a delivery again, whatever came of it, with all its tries. It keeps its id, so that a receiver that has it
/// can tell.
///
/// # Errors
/// NotFound; Conflict when its webhook is disabled or its event is not in the feed any more.
pub async fn redeliver(app: &App, actor: &Actor, id: &DeliveryId) -> Result<Delivery> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let mut tx = app.begin(actor).await?;
    let gone = || Error::not_found("delivery");
    let delivery = log::by_id(&mut tx, id).await?.ok_or_else(gone)?;
    let webhook = table::by_id(&mut tx, &delivery.webhook_id).await?.ok_or_else(gone)?;
    not_disabled(&webhook)?;
    if delivery.event_seq > 0 && feed::at_positions(&mut tx, &[delivery.event_seq]).await?.is_empty() {
        return Err(Error::conflict("the event is older than the feed and cannot be sent again"));
    }
    if !log::requeue(&mut tx, id, app.now()).await? {
        return Err(gone());
    }
    let details = json!({"webhook": delivery.webhook_id, "event": delivery.event_id});
    audit::record(app, &mut tx, actor, "webhook_delivery.redeliver", id.as_str(), details).await?;
    let after = log::by_id(&mut tx, id).await?.ok_or_else(gone)?;
    tx.wake(Topic::Webhooks);
    tx.commit().await?;
    Ok(after)
}

/// What [`redeliver_since`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivered {
    /// Deliveries that had failed or were dropped, and are sent again.
    pub requeued: u64,
    /// Events that were not noted for the webhook, as while it was disabled.
    pub added: u64,
    /// The instant up to which events were looked at, when there were more than one call takes: go on from there.
    pub continue_from: Option<Timestamp>,
}

/// Sends everything of a period that the webhook did not get: what failed, and events that were never noted for it.
/// What was delivered stays delivered.
///
/// # Errors
/// NotFound; Conflict when the webhook is disabled.
pub async fn redeliver_since(
    app: &App,
    actor: &Actor,
    id: &WebhookId,
    since: Timestamp,
    until: Option<Timestamp>,
) -> Result<Redelivered> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let mut tx = app.begin(actor).await?;
    let now = app.now();
    let webhook = table::by_id(&mut tx, id).await?.ok_or_else(super::absent)?;
    not_disabled(&webhook)?;
    let until = until.unwrap_or(now);
    let requeued = log::requeue_since(&mut tx, id, since, until, now).await?;
    let (done, _) = table::feed_lag(&mut tx).await?;
    let period = Range { gte: Some(since), lte: Some(until) };
    let kinds = &webhook.subscribed_events;
    let events = feed::of_period(&mut tx, kinds, &period, done, MOST_EVENTS).await?;
    let continue_from = (events.len() as i64 == MOST_EVENTS).then(|| events.last().map(|e| e.at)).flatten();
    let missing: Vec<Delivery> = events.iter().map(|event| waiting(id, event, now)).collect();
    let added = log::insert(&mut tx, &missing).await?;
    let details =
        json!({"since": since.rfc3339_secs(), "until": until.rfc3339_secs(), "requeued": requeued, "added": added});
    audit::record(app, &mut tx, actor, "webhook.redeliver", id.as_str(), details).await?;
    tx.wake(Topic::Webhooks);
    tx.commit().await?;
    Ok(Redelivered { requeued, added, continue_from })
}

/// Sends a test event, which is signed, attempted and logged like any other.
///
/// # Errors
/// NotFound; Conflict when the webhook is not active.
pub async fn send_test(app: &App, actor: &Actor, id: &WebhookId) -> Result<Delivery> {
    authz::require(actor, Permission::WebhooksWrite)?;
    let mut tx = app.begin(actor).await?;
    let webhook = table::by_id(&mut tx, id).await?.ok_or_else(super::absent)?;
    if webhook.state != WebhookState::Active {
        return Err(Error::conflict(format!("the webhook is {}; resume it first", webhook.state.word())));
    }
    let now = app.now();
    let event = Event {
        seq: 0,
        id: EventId(app.ids.next()),
        kind: TEST.to_owned(),
        subject: id.0.clone(),
        at: now,
        data: String::new(),
    };
    let delivery = waiting(id, &event, now);
    log::insert(&mut tx, std::slice::from_ref(&delivery)).await?;
    audit::record(app, &mut tx, actor, "webhook.test", id.as_str(), json!({"delivery": delivery.id})).await?;
    tx.wake(Topic::Webhooks);
    tx.commit().await?;
    Ok(delivery)
}

/// The body of a test event: everything follows from the row.
pub(super) fn test_event(delivery: &Delivery) -> Event {
    let data = json!({
        "webhook_id": delivery.webhook_id,
        "message": "This is a test. If you can read it and the signature holds, the webhook works.",
    });
    Event {
        seq: 0,
        id: delivery.event_id.clone(),
        kind: TEST.to_owned(),
        subject: delivery.webhook_id.0.clone(),
        at: delivery.event_at,
        data: data.to_string(),
    }
}

fn not_disabled(webhook: &Webhook) -> Result<()> {
    match webhook.state {
        WebhookState::Active | WebhookState::Paused => Ok(()),
        WebhookState::Disabled => Err(Error::conflict("the webhook is disabled; resume it first")),
    }
}

/// The delivery of an event that waits for its first attempt.
pub(super) fn waiting(webhook: &WebhookId, event: &Event, now: Timestamp) -> Delivery {
    Delivery {
        id: delivery_id(webhook, &event.id, event.at),
        webhook_id: webhook.clone(),
        event_seq: event.seq,
        event_id: event.id.clone(),
        kind: event.kind.clone(),
        event_at: event.at,
        state: DeliveryState::Pending,
        attempts: 0,
        tries: 0,
        next_at: now,
        attempted_at: None,
        http_status: None,
        error: None,
        answer: None,
        duration_ms: None,
        inserted_at: now,
        finished_at: None,
    }
}

/// The bodies of these deliveries' events by position, those that are not kept read from the feed. What is missing is not
/// in the feed any more.
pub(super) async fn bodies(app: &App, tx: &mut Tx, deliveries: &[Delivery]) -> Result<HashMap<i64, Bytes>> {
    let mut bodies = HashMap::new();
    let mut missing = Vec::new();
    for seq in deliveries.iter().map(|d| d.event_seq).filter(|seq| *seq > 0) {
        if bodies.contains_key(&seq) {
            continue;
        }
        match app.webhooks.payloads.get(seq) {
            Some(body) => drop(bodies.insert(seq, body)),
            None => missing.push(seq),
        }
    }
    missing.sort_unstable();
    missing.dedup();
    for positions in missing.chunks(500) {
        for event in feed::at_positions(tx, positions).await? {
            let body = Bytes::from(crate::event::envelope(app, &event));
            app.webhooks.payloads.put(event.seq, body.clone());
            bodies.insert(event.seq, body);
        }
    }
    Ok(bodies)
}
