//! Webhooks and their delivery log.
#![allow(non_snake_case)] // filters are called `field__gte` on the wire

use std::collections::BTreeMap;

use reeve_domain::webhook::{self, delivery::Redelivered};
use reeve_types::webhook::{Delivery, DeliveryFilter, DeliveryState, Webhook, WebhookFilter, WebhookState};
use reeve_types::{EventId, Patch, Secret, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};

use super::{Moment, Since, Until, name, numbers, period, prose, shown, shown_if};

/// POST. Holds a secret: no `Debug`.
#[derive(Deserialize)]
pub struct Create {
    url: String,
    secret: Secret,
    headers: Option<BTreeMap<String, String>>,
    subscribed_events: Vec<String>,
}

impl From<Create> for webhook::Create {
    fn from(c: Create) -> Self {
        Self { url: c.url, secret: c.secret, headers: c.headers, subscribed_events: c.subscribed_events }
    }
}

/// PATCH. Holds a secret: no `Debug`.
#[derive(Deserialize)]
pub struct Update {
    url: Option<String>,
    secret: Option<Secret>,
    secret_overlap_seconds: Option<i64>,
    #[serde(default)]
    headers: Patch<BTreeMap<String, String>>,
    subscribed_events: Option<Vec<String>>,
}

impl From<Update> for webhook::Update {
    fn from(u: Update) -> Self {
        Self {
            url: u.url,
            secret: u.secret,
            secret_overlap_secs: u.secret_overlap_seconds,
            headers: u.headers,
            subscribed_events: u.subscribed_events,
        }
    }
}

/// The filters of a list.
#[derive(Debug, Deserialize)]
pub struct Query {
    url: Option<String>,
    event_type: Option<String>,
    state: Option<String>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
    updated_at__gte: Option<Since>,
    updated_at__lte: Option<Until>,
}

impl From<Query> for WebhookFilter {
    fn from(q: Query) -> Self {
        Self {
            // A comma is a letter of URLs.
            url: prose(q.url),
            event_type: q.event_type,
            state: q.state.as_deref().and_then(WebhookState::parse),
            inserted_at: period(q.inserted_at__gte, q.inserted_at__lte),
            updated_at: period(q.updated_at__gte, q.updated_at__lte),
        }
    }
}

/// The answer. Neither secret nor headers are ever shown.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    url: String,
    subscribed_events: Vec<String>,
    inserted_at: String,
    updated_at: String,
    state: &'static str,
    state_reason: Option<String>,
    failing_since: Option<String>,
    failed_attempts: i64,
    waiting_deliveries: i64,
    has_headers: bool,
    previous_secret_until: Option<String>,
}

impl View {
    /// The answer for a webhook.
    pub fn of(w: Webhook, now: Timestamp) -> Self {
        let overlaps = webhook::has_previous_secret(&w, now);
        Self {
            id: w.id.0,
            url: w.url,
            subscribed_events: w.subscribed_events,
            inserted_at: shown(w.inserted_at),
            updated_at: shown(w.updated_at),
            state: w.state.word(),
            state_reason: w.state_reason,
            failing_since: shown_if(w.failing_since),
            failed_attempts: w.failures,
            waiting_deliveries: w.backlog,
            has_headers: w.sealed_headers.is_some(),
            previous_secret_until: w.previous_secret_until.filter(|_| overlaps).map(shown),
        }
    }
}

/// POST of a redelivery.
#[derive(Debug, Deserialize)]
pub struct Redeliver {
    /// From this instant on.
    pub since: Moment,
    /// Up to this instant.
    pub until: Option<Moment>,
}

/// What came of a redelivery.
#[derive(Debug, Serialize)]
pub struct RedeliveredView {
    requeued: u64,
    added: u64,
    continue_from: Option<String>,
}

impl From<Redelivered> for RedeliveredView {
    fn from(r: Redelivered) -> Self {
        Self { requeued: r.requeued, added: r.added, continue_from: r.continue_from.map(Timestamp::rfc3339_micros) }
    }
}

/// The filters of the delivery log.
#[derive(Debug, Deserialize)]
pub struct LogQuery {
    state: Option<String>,
    event_type: Option<String>,
    event_id: Option<String>,
    http_status: Option<i64>,
    http_status__gte: Option<i64>,
    http_status__lte: Option<i64>,
    error: Option<String>,
    inserted_at__gte: Option<Since>,
    inserted_at__lte: Option<Until>,
}

impl LogQuery {
    /// The filter, for one webhook or for all.
    pub fn filter(self, webhook_id: Option<WebhookId>) -> DeliveryFilter {
        let words = self.state.as_deref().unwrap_or_default().split(',');
        DeliveryFilter {
            webhook_id,
            states: words.filter_map(|word| DeliveryState::parse(word.trim())).collect(),
            kind: name(self.event_type),
            event_id: self.event_id.map(|id| EventId(id.to_ascii_lowercase())),
            http_status: numbers(self.http_status, self.http_status__gte, self.http_status__lte),
            error: prose(self.error),
            inserted_at: period(self.inserted_at__gte, self.inserted_at__lte),
        }
    }
}

/// A row of the log.
#[derive(Debug, Serialize)]
pub struct DeliveryView {
    id: String,
    webhook_id: String,
    event_id: String,
    event_type: String,
    event_time: String,
    state: &'static str,
    attempts: i64,
    next_attempt_at: Option<String>,
    last_attempt_at: Option<String>,
    duration_ms: Option<i64>,
    http_status: Option<i64>,
    error: Option<String>,
    answer: Option<String>,
    inserted_at: String,
    finished_at: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(d: Delivery) -> Self {
        Self {
            id: d.id.0,
            webhook_id: d.webhook_id.0,
            event_id: d.event_id.0,
            event_type: d.kind,
            event_time: d.event_at.rfc3339_micros(),
            state: d.state.word(),
            attempts: d.attempts,
            next_attempt_at: (d.state == DeliveryState::Pending).then(|| shown(d.next_at)),
            last_attempt_at: shown_if(d.attempted_at),
            duration_ms: d.duration_ms,
            http_status: d.http_status,
            error: d.error,
            answer: d.answer,
            inserted_at: shown(d.inserted_at),
            finished_at: shown_if(d.finished_at),
        }
    }
}
