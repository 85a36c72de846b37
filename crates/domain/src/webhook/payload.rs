//! Bodies of events that were turned into deliveries lately: one event goes to many webhooks.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes kept at the most; the oldest go first.
const MOST_BYTES: usize = 8 << 20;

/// Bodies by the event's position in the feed.
#[derive(Default)]
pub(super) struct Payloads(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_position: HashMap<i64, Bytes>,
    order: VecDeque<i64>,
    bytes: usize,
}

impl Payloads {
    pub(super) fn get(&self, position: i64) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_position.get(&position).cloned()
    }

    pub(super) fn put(&self, position: i64, body: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = body.len();
        if kept.by_position.insert(position, body).is_some() {
            return;
        }
        kept.order.push_back(position);
        kept.bytes += size;
        while kept.bytes > MOST_BYTES
            && let Some(oldest) = kept.order.pop_front()
        {
            let gone = kept.by_position.remove(&oldest).map_or(0, |body| body.len());
            kept.bytes -= gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let payloads = Payloads::default();
        let body = Bytes::from(vec![0; MOST_BYTES / 4]);
        (1..=5).for_each(|position| payloads.put(position, body.clone()));
        payloads.put(5, body);
        let there: Vec<i64> = (1..=5).filter(|position| payloads.get(*position).is_some()).collect();
        assert_eq!(there, [2, 3, 4, 5]);
    }
}
