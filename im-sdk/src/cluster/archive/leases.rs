//! Which records somebody has taken out, for archives that live in this process.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// Until when each of these records belongs to whoever took it out.
#[derive(Debug)]
pub(super) struct Leases {
    until: BTreeMap<u64, Instant>,
    length: Duration,
}

impl Leases {
    pub(super) fn new(length: Duration) -> Self {
        Self { until: BTreeMap::new(), length }
    }

    /// Takes a record, unless somebody has it.
    pub(super) fn take(&mut self, number: u64, now: Instant) -> bool {
        if self.until.get(&number).is_some_and(|until| *until > now) {
            return false;
        }
        self.until.insert(number, now + self.length);
        true
    }

    /// The record is gone.
    pub(super) fn forget(&mut self, number: u64) {
        self.until.remove(&number);
    }

    /// How many records somebody has.
    pub(super) fn held(&self, now: Instant) -> u64 {
        self.until.values().filter(|until| **until > now).count() as u64
    }

    /// When the first of them is free again.
    pub(super) fn next_free(&self, now: Instant) -> Option<Instant> {
        self.until.values().filter(|until| **until > now).min().copied()
    }
}
