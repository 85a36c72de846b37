//! Heartbeats, coalesced in memory and written in batches, and nodes that fell silent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reeve_store::{Topic, event as feed, node as table};
use reeve_types::node::NodeStatus;
use reeve_types::{NodeId, Result};
use serde_json::json;

use crate::{App, event};

#[derive(Debug)]
struct Seen {
    beat: bool,
    status: NodeStatus,
    /// None when that is not known.
    stored: Option<NodeStatus>,
}

/// Which connected nodes beat since the last write, and how they said they are.
#[derive(Debug, Default)]
pub struct Presence(Mutex<HashMap<NodeId, Seen>>);

impl Presence {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(&self, id: &NodeId) {
        let seen = Seen { beat: false, status: NodeStatus::Healthy, stored: Some(NodeStatus::Healthy) };
        self.lock().insert(id.clone(), seen);
    }

    pub(crate) fn disconnected(&self, id: &NodeId) {
        self.lock().remove(id);
    }

    pub(crate) fn forget(&self, id: &NodeId) {
        self.lock().remove(id);
    }

    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    /// What a connected node said last; None for others.
    fn said(&self, id: &NodeId) -> Option<NodeStatus> {
        self.lock().get(id).map(|seen| seen.status)
    }

    /// Nodes that beat, and those whose status differs from the stored one.
    fn take(&self) -> (Vec<NodeId>, Vec<(NodeId, NodeStatus)>) {
        let (mut beat, mut changed) = (Vec::new(), Vec::new());
        for (id, seen) in self.lock().iter_mut() {
            if std::mem::take(&mut seen.beat) {
                beat.push(id.clone());
            }
            if Some(seen.status) != seen.stored {
                seen.stored = Some(seen.status);
                changed.push((id.clone(), seen.status));
            }
        }
        (beat, changed)
    }

    /// What was taken did not reach the store: it is due again.
    fn give_back(&self, beat: &[NodeId], changed: &[(NodeId, NodeStatus)]) {
        let mut all = self.lock();
        for id in beat {
            if let Some(seen) = all.get_mut(id) {
                seen.beat = true;
            }
        }
        for (id, _) in changed {
            if let Some(seen) = all.get_mut(id) {
                seen.stored = None;
            }
        }
    }
}

/// Notes a heartbeat. Never waits; the store hears of it within seconds.
pub fn heartbeat(app: &App, id: &NodeId, status: NodeStatus) {
    app.counters.heartbeats.add(1);
    if let Some(seen) = app.presence.lock().get_mut(id) {
        seen.beat = true;
        seen.status = status;
    }
}

/// Writes the heartbeats since the last call. Called by its reconciler.
///
/// # Errors
/// As the store; what was not written is tried again with the next call.
pub async fn flush(app: &App) -> Result<()> {
    let (beat, changed) = app.presence.take();
    if beat.is_empty() && changed.is_empty() {
        return Ok(());
    }
    let written = write(app, &beat, changed.clone()).await;
    if written.is_err() {
        app.presence.give_back(&beat, &changed);
    }
    written
}

async fn write(app: &App, beat: &[NodeId], mut changed: Vec<(NodeId, NodeStatus)>) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let holder = app.holder();
    for id in table::seen(&mut tx, beat, holder, now).await? {
        // It beats here, and the store took its connection away: an older one of it ended elsewhere, later than this began.
        if app.agents().is_connected(&id) && table::claim(&mut tx, &id, holder, now).await? {
            tx.wake(Topic::Executions);
        }
    }
    // The sweep goes by the clock: after a leap of it, or a pause of this server, it takes nodes for silent whose beats had
    // not been written yet. A beat is proof of the contrary.
    for id in table::unreachable_among(&mut tx, beat, holder).await? {
        if let Some(status) = app.presence.said(&id) {
            changed.push((id, status));
        }
    }
    let mut events = Vec::new();
    for (id, status) in changed {
        if let Some(before) = table::set_status(&mut tx, &id, status, now).await?
            && let Some(node) = table::by_id(&mut tx, &id).await?
        {
            events.push(event::of_node(event::NODE_STATUS_CHANGED, &node, &[("previous_status", json!(before))]));
        }
    }
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    tx.commit().await
}

/// Marks nodes as unreachable that had no contact for the configured time. Called by its reconciler.
///
/// # Errors
/// As the store.
pub async fn sweep(app: &App) -> Result<()> {
    let now = app.now();
    let before = now.plus_ms(-(app.config.unreachable_after.as_millis() as i64));
    loop {
        let mut tx = app.store.begin().await?;
        let silent = table::silent_since(&mut tx, before, 500).await?;
        let full = silent.len() == 500;
        let mut events = Vec::new();
        for mut node in silent {
            if let Some(status) = table::set_status(&mut tx, &node.id, NodeStatus::Unreachable, now).await? {
                node.status = NodeStatus::Unreachable;
                node.updated_at = now;
                events.push(event::of_node(event::NODE_STATUS_CHANGED, &node, &[("previous_status", json!(status))]));
            }
        }
        feed::append(&mut tx, &*app.ids, now, &events).await?;
        tx.commit().await?;
        if !full {
            return Ok(());
        }
    }
}
