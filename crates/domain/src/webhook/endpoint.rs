//! What the sender remembers of one webhook: where requests go, what waits in memory, what runs.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use reeve_types::webhook::{Delivery, Webhook};
use reeve_types::{DeliveryId, Result, Timestamp, WebhookId};

use super::aad;
use super::sign::Keys;
use crate::App;

/// Deliveries of one webhook read from the store at a time.
pub(super) const PAGE: i64 = 64;
/// More are read when fewer than this wait in memory.
const LOW: usize = 16;
/// An endpoint that failed this often in a row gets one attempt at a time.
const FAILING: u32 = 5;

/// Where and how requests are sent; opened secrets, so it has no `Debug`.
pub(super) struct Target {
    pub(super) id: WebhookId,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) keys: Keys,
}

impl Target {
    fn open(app: &App, row: &Webhook) -> Result<Self> {
        let id = &row.id;
        let secret = app.seal.open(aad("secret_sealed", id), &row.sealed_secret)?;
        let previous = match (&row.sealed_previous_secret, row.previous_secret_until) {
            (Some(sealed), Some(until)) => Some((app.seal.open(aad("previous_secret_sealed", id), sealed)?, until)),
            (None, _) | (_, None) => None,
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        if let Some(sealed) = &row.sealed_headers {
            let text = app.seal.open(aad("headers_sealed", id), sealed)?;
            let map: std::collections::BTreeMap<String, String> =
                serde_json::from_str(text.expose()).map_err(reeve_types::Error::internal)?;
            headers.extend(map);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".to_owned(), "application/cloudevents+json".to_owned()));
        }
        Ok(Self { id: id.clone(), url: row.url.clone(), headers, keys: Keys::new(secret, previous) })
    }
}

/// A delivery with its body; without one its event is not in the feed any more.
pub(super) type Queued = (Delivery, Option<Bytes>);

/// One webhook of this server.
pub(super) struct Endpoint {
    pub(super) target: Arc<Target>,
    row: Webhook,
    /// False while it is paused, disabled or another server's: then what runs is waited for and nothing begins.
    pub(super) active: bool,
    queue: VecDeque<Queued>,
    /// Read from the store and not settled there.
    held: HashSet<DeliveryId>,
    running: usize,
    /// There may be due rows in the store that are not held.
    pub(super) dirty: bool,
    /// The earliest instant at which a row that is not held becomes due.
    next_due: Option<Timestamp>,
    hold_until: Timestamp,
    failures: u32,
}

impl Endpoint {
    pub(super) fn new(app: &App, row: Webhook) -> Result<Self> {
        Ok(Self::of(Target::open(app, &row)?, row))
    }

    fn of(target: Target, row: Webhook) -> Self {
        Self {
            target: Arc::new(target),
            row,
            active: true,
            queue: VecDeque::new(),
            held: HashSet::new(),
            running: 0,
            dirty: true,
            next_due: None,
            hold_until: Timestamp(0),
            failures: 0,
        }
    }

    /// Takes over what somebody changed.
    pub(super) fn refresh(&mut self, app: &App, row: Webhook) -> Result<()> {
        let same = |a: &Webhook, b: &Webhook| {
            a.url == b.url
                && a.sealed_secret == b.sealed_secret
                && a.sealed_headers == b.sealed_headers
                && a.sealed_previous_secret == b.sealed_previous_secret
                && a.previous_secret_until == b.previous_secret_until
        };
        if !same(&self.row, &row) {
            self.target = Arc::new(Target::open(app, &row)?);
            (self.hold_until, self.failures) = (Timestamp(0), 0);
        }
        if !self.active {
            (self.active, self.hold_until, self.failures) = (true, Timestamp(0), 0);
        }
        self.row = row;
        Ok(())
    }

    /// Nothing begins any more.
    pub(super) fn stop(&mut self) {
        self.active = false;
        for (delivery, _) in self.queue.drain(..) {
            self.held.remove(&delivery.id);
        }
    }

    /// Whether nothing of it is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.running == 0
    }

    /// Whether its rows should be read.
    pub(super) fn wants_rows(&self, now: Timestamp) -> bool {
        let due = self.dirty || self.next_due.is_some_and(|at| at <= now);
        self.active && due && self.queue.len() < LOW && self.held.len() < PAGE as usize
    }

    /// Takes the first rows of the store, which are in the order in which they are to be attempted.
    pub(super) fn take_rows(&mut self, rows: Vec<Queued>, now: Timestamp) {
        // A full page may not have reached the end of what is due.
        let full = rows.len() as i64 >= PAGE;
        (self.dirty, self.next_due) = (full, None);
        for (row, body) in rows {
            if self.held.contains(&row.id) {
                continue;
            }
            if row.next_at > now {
                self.dirty = false;
                self.next_due = Some(row.next_at);
                break;
            }
            self.held.insert(row.id.clone());
            self.queue.push_back((row, body));
        }
    }

    /// The next delivery to attempt, if one may begin. `spare` says whether there is room beyond one for each webhook.
    pub(super) fn begin(&mut self, now: Timestamp, at_once: usize, spare: bool) -> Option<Queued> {
        let most = if self.failures >= FAILING { 1 } else { at_once };
        let room = self.running == 0 || (spare && self.running < most);
        if !self.active || !room || now < self.hold_until {
            return None;
        }
        let queued = self.queue.pop_front()?;
        self.running += 1;
        Some(queued)
    }

    /// An attempt has ended; its outcome is on its way into the store.
    pub(super) fn ended(&mut self, failed: bool, hold_until: Option<Timestamp>) {
        self.running = self.running.saturating_sub(1);
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        self.hold_until = self.hold_until.max(hold_until.unwrap_or(Timestamp(0)));
    }

    /// The outcome is in the store; `next_at` when it will be attempted again.
    pub(super) fn settled(&mut self, id: &DeliveryId, next_at: Option<Timestamp>) {
        self.held.remove(id);
        if let Some(at) = next_at {
            self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
        }
    }

    /// When it has to be looked at without being told.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        let held_back = (!self.queue.is_empty()).then_some(self.hold_until);
        [self.next_due, held_back].into_iter().flatten().filter(|at| at.0 > 0).min().filter(|_| self.active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::delivery::waiting;
    use reeve_types::event::Event;
    use reeve_types::webhook::WebhookState;
    use reeve_types::{EventId, Secret};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn endpoint() -> Endpoint {
        let row = Webhook {
            id: "w".into(),
            url: String::new(),
            subscribed_events: Vec::new(),
            sealed_secret: String::new(),
            sealed_headers: None,
            sealed_previous_secret: None,
            previous_secret_until: None,
            state: WebhookState::Active,
            state_reason: None,
            start_position: 0,
            failing_since: None,
            failures: 0,
            backlog: 0,
            inserted_at: NOW,
            updated_at: NOW,
        };
        let keys = Keys::new(Secret::new("s"), None);
        let target = Target { id: row.id.clone(), url: String::new(), headers: Vec::new(), keys };
        Endpoint::of(target, row)
    }

    fn rows(seqs: std::ops::Range<i64>, at: Timestamp) -> Vec<Queued> {
        let event = |seq: i64| Event {
            seq,
            id: EventId(seq.to_string()),
            kind: "k".into(),
            subject: String::new(),
            at,
            data: String::new(),
        };
        seqs.map(|seq| (waiting(&"w".into(), &event(seq), at), None)).collect()
    }

    #[test]
    fn rows_are_taken_once_and_in_order() {
        let mut e = endpoint();
        assert!(e.wants_rows(NOW));
        e.take_rows(rows(0..3, NOW), NOW);
        assert!(!e.wants_rows(NOW));
        e.dirty = true;
        e.take_rows(rows(0..5, NOW), NOW);
        let order: Vec<i64> = std::iter::from_fn(|| e.begin(NOW, 8, true)).map(|(d, _)| d.event_seq).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn one_at_a_time_when_it_fails_or_there_is_no_room() {
        let mut e = endpoint();
        e.take_rows(rows(0..10, NOW), NOW);
        assert!(e.begin(NOW, 8, false).is_some() && e.begin(NOW, 8, false).is_none());
        assert!(e.begin(NOW, 2, true).is_some() && e.begin(NOW, 2, true).is_none());
        e.ended(true, None);
        e.ended(true, None);
        (0..4).for_each(|_| {
            e.begin(NOW, 8, true).unwrap();
            e.ended(true, None);
        });
        assert!(e.begin(NOW, 8, true).is_some() && e.begin(NOW, 8, true).is_none());
        e.ended(false, Some(NOW.plus_ms(5)));
        assert!(e.begin(NOW, 8, true).is_none(), "it asked for a pause");
        assert_eq!(e.wake_at(), Some(NOW.plus_ms(5)));
        assert!(e.begin(NOW.plus_ms(5), 8, true).is_some());
    }

    #[test]
    fn what_is_not_due_is_waited_for() {
        let mut e = endpoint();
        e.take_rows(rows(0..1, NOW.plus_ms(7)), NOW);
        assert_eq!((e.wake_at(), e.wants_rows(NOW), e.is_idle()), (Some(NOW.plus_ms(7)), false, true));
        assert!(e.wants_rows(NOW.plus_ms(7)));
    }

    #[test]
    fn a_stopped_one_keeps_what_runs() {
        let mut e = endpoint();
        e.take_rows(rows(0..3, NOW), NOW);
        let running = e.begin(NOW, 8, true).unwrap();
        e.stop();
        assert!(!e.is_idle() && e.begin(NOW, 8, true).is_none() && !e.wants_rows(NOW));
        e.ended(false, None);
        e.settled(&running.0.id, None);
        assert!(e.is_idle());
    }
}
