//! Webhooks: who is told of events, and each telling.

use crate::id::{DeliveryId, EventId, WebhookId};
use crate::text_match::TextMatch;
use crate::time::{Range, Timestamp};

/// Whether events are sent to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookState {
    /// Events are sent.
    Active,
    /// Somebody stopped it; events wait.
    Paused,
    /// It failed for too long or said that it is gone; events that come meanwhile are not kept for it.
    Disabled,
}

impl WebhookState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Disabled];
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
    /// Reads a [`word`](Self::word).
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// A subscription. Secrets are sealed blobs; nothing here can be read without the sealing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Row id.
    pub id: WebhookId,
    /// Where events are posted.
    pub url: String,
    /// Types that are sent, each once.
    pub subscribed_events: Vec<String>,
    /// What requests are signed with.
    pub sealed_secret: String,
    /// A JSON object of more headers.
    pub sealed_headers: Option<String>,
    /// The secret before the last change; signs too until `previous_secret_until`.
    pub sealed_previous_secret: Option<String>,
    /// End of the overlap of secrets.
    pub previous_secret_until: Option<Timestamp>,
    /// Whether events are sent.
    pub state: WebhookState,
    /// Why it is disabled, for people.
    pub state_reason: Option<String>,
    /// Position in the feed after which events are sent.
    pub start_position: i64,
    /// The first failure after the last success.
    pub failing_since: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub failures: i64,
    /// Deliveries that wait, as counted last.
    pub backlog: i64,
    /// Creation.
    pub inserted_at: Timestamp,
    /// Last change by somebody, or of the state.
    pub updated_at: Timestamp,
}

/// Filters of webhook lists; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// On the URL.
    pub url: Option<TextMatch>,
    /// Subscribed to this type.
    pub event_type: Option<String>,
    /// In this state.
    pub state: Option<WebhookState>,
    /// On creation.
    pub inserted_at: Range<Timestamp>,
    /// On the last change.
    pub updated_at: Range<Timestamp>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It will be attempted (again).
    Pending,
    /// The endpoint answered with success.
    Delivered,
    /// No attempt succeeded and none follows.
    Failed,
    /// It became too old before an attempt succeeded.
    Dropped,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Dropped];
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
    /// Reads a [`word`](Self::word).
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// One event for one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Follows from webhook and event, and is the same for every attempt.
    pub id: DeliveryId,
    /// For whom.
    pub webhook_id: WebhookId,
    /// Position of the event in the feed; 0 for a test event, which is not in the feed.
    pub event_seq: i64,
    /// CloudEvents `id`.
    pub event_id: EventId,
    /// CloudEvents `type`.
    pub kind: String,
    /// CloudEvents `time`.
    pub event_at: Timestamp,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts ever.
    pub attempts: i64,
    /// Attempts since it was made or redelivered.
    pub tries: i64,
    /// Not before this instant.
    pub next_at: Timestamp,
    /// The last attempt.
    pub attempted_at: Option<Timestamp>,
    /// HTTP status of the last answer.
    pub http_status: Option<i64>,
    /// What went wrong last.
    pub error: Option<String>,
    /// The beginning of the last answer.
    pub answer: Option<String>,
    /// Length of the last attempt.
    pub duration_ms: Option<i64>,
    /// When it was queued, for the first time or again.
    pub inserted_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

/// Filters of the delivery log; all given ones must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// For this webhook.
    pub webhook_id: Option<WebhookId>,
    /// In one of these states; empty is all.
    pub states: Vec<DeliveryState>,
    /// On the event's type.
    pub kind: Option<TextMatch>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// With this status of the last answer.
    pub http_status: Range<i64>,
    /// On what went wrong last.
    pub error: Option<TextMatch>,
    /// On when it was queued.
    pub inserted_at: Range<Timestamp>,
}
