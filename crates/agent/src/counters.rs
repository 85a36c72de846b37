//! What the agent counts about itself, from its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by everybody who has something to count.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands taken into the journal.
    pub accepted: Count,
    /// Commands that ran to an end or were cancelled.
    pub completed: Count,
    /// Commands that came too late to be started.
    pub expired: Count,
    /// Results that the server has stored.
    pub stored: Count,
    /// Commands waiting for their turn.
    pub queued: Count,
    /// Commands running.
    pub running: Count,
    /// Results that the server has not stored yet.
    pub waiting: Count,
    /// Sessions in which the journal was compared with the server's view.
    pub syncs: Count,
    /// Heartbeats sent.
    pub heartbeats: Count,
    /// Connections tried.
    pub dials: Count,
}

/// One number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It is this many.
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
