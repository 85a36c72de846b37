//! One attempt: sign, send, judge the answer.

use std::time::Duration;

use bytes::Bytes;
use reeve_ports::fetch::{Answer, Failure, Request};
use reeve_store::webhook_delivery::Settled;
use reeve_types::webhook::{Delivery, DeliveryState};
use reeve_types::{Timestamp, WebhookId};

use super::endpoint::Target;
use super::rules;
use crate::App;

/// Bytes of an answer that are kept in the log.
const ANSWER: usize = 1_024;
/// Characters of a problem that are kept in the log.
const PROBLEM: usize = 300;
/// Longest time for which a `Retry-After` holds back all deliveries of a webhook and not only the one that got it.
const LONGEST_HOLD_MS: i64 = 3_600_000;

/// What came of a delivery's attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// It will be attempted again.
    Again,
    /// It is given up.
    GivenUp,
    /// The endpoint says that it is gone for good.
    Gone,
    /// It ended without an attempt, which says nothing about the endpoint.
    Untried,
}

/// An ended attempt on its way into the store.
pub(super) struct Ended {
    pub(super) webhook: WebhookId,
    pub(super) verdict: Verdict,
    pub(super) settled: Settled,
    /// Nothing is to be sent to the webhook until then.
    pub(super) hold_until: Option<Timestamp>,
}

/// Attempts `delivery` with `body`.
pub(super) async fn attempt(app: &App, target: &Target, delivery: &Delivery, body: Bytes) -> Ended {
    let began = app.now();
    let mut headers = target.headers.clone();
    match target.keys.headers(delivery.id.as_str(), &body, began) {
        Ok(signing) => headers.extend(signing),
        Err(error) => {
            tracing::error!(%error, source = ?error.source, webhook.id = %target.id, "a delivery could not be signed");
            return judge(app, delivery, began, 0, Err(Failure::Unreachable("it could not be signed".to_owned())));
        }
    }
    let timeout = app.config.webhooks.timeout;
    let request = Request { method: "POST", url: target.url.clone(), headers, body, timeout, most_bytes: ANSWER };
    let timer = tokio::time::Instant::now();
    // The port keeps the time; this is for a port that does not.
    let sent = tokio::time::timeout(timeout + Duration::from_secs(5), app.fetch().send(request)).await;
    let duration_ms = timer.elapsed().as_millis() as i64;
    judge(app, delivery, began, duration_ms, sent.unwrap_or(Err(Failure::TimedOut)))
}

/// Ends a delivery that is not attempted any more.
pub(super) fn untried(app: &App, delivery: &Delivery, why: &str) -> Ended {
    let settled = Settled {
        id: delivery.id.clone(),
        attempts: delivery.attempts,
        state: DeliveryState::Dropped,
        attempted: 0,
        next_at: delivery.next_at,
        at: app.now(),
        http_status: delivery.http_status,
        error: Some(why.to_owned()),
        answer: delivery.answer.clone(),
        duration_ms: delivery.duration_ms,
    };
    Ended { webhook: delivery.webhook_id.clone(), verdict: Verdict::Untried, settled, hold_until: None }
}

fn judge(app: &App, delivery: &Delivery, began: Timestamp, duration_ms: i64, sent: Result<Answer, Failure>) -> Ended {
    let now = app.now();
    let rules = &app.config.webhooks;
    let tries = delivery.tries + 1;
    let status = sent.as_ref().ok().map(|answer| answer.status);
    let verdict = match status {
        Some(200..=299) => Verdict::Delivered,
        Some(410) => Verdict::Gone,
        _ if tries >= rules.max_attempts => Verdict::GivenUp,
        Some(_) | None => Verdict::Again,
    };
    let asked = sent.as_ref().ok().and_then(|answer| answer.retry_after.as_deref());
    let asked = asked.and_then(|text| rules::retry_after_ms(text, now)).filter(|_| verdict == Verdict::Again);
    let pause = rules::pause_ms(&rules.pauses, tries, chance(app)).max(asked.unwrap_or(0));
    // Only these two say that the endpoint as a whole wants to be left alone.
    let hold = asked.filter(|_| matches!(status, Some(429 | 503))).map(|ms| now.plus_ms(ms.min(LONGEST_HOLD_MS)));
    let settled = Settled {
        id: delivery.id.clone(),
        attempts: delivery.attempts,
        state: match verdict {
            Verdict::Delivered => DeliveryState::Delivered,
            Verdict::Again => DeliveryState::Pending,
            Verdict::GivenUp | Verdict::Gone => DeliveryState::Failed,
            Verdict::Untried => DeliveryState::Dropped,
        },
        attempted: 1,
        next_at: if verdict == Verdict::Again { now.plus_ms(pause) } else { delivery.next_at },
        at: began,
        http_status: status.map(i64::from),
        error: problem(&sent),
        answer: sent.ok().map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).filter(|a| !a.is_empty()),
        duration_ms: Some(duration_ms),
    };
    Ended { webhook: delivery.webhook_id.clone(), verdict, settled, hold_until: hold }
}

fn problem(sent: &Result<Answer, Failure>) -> Option<String> {
    let text = match sent {
        Ok(answer) if (200..=299).contains(&answer.status) => return None,
        Ok(answer) if (300..=399).contains(&answer.status) => {
            format!("answered {}: redirects are not followed, change the URL", answer.status)
        }
        Ok(answer) => format!("answered {}", answer.status),
        Err(failure) => failure.to_string(),
    };
    Some(text.chars().take(PROBLEM).collect())
}

fn chance(app: &App) -> u16 {
    let mut bytes = [0; 2];
    app.ids.fill(&mut bytes);
    u16::from_be_bytes(bytes)
}
