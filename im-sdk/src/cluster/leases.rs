//! Leases of fetched records, for queues inside this process.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// The end of the lease of each fetched record.
#[derive(Debug)]
pub(in crate::cluster) struct Leases {
    until: BTreeMap<u64, Instant>,
    length: Duration,
}

impl Leases {
    pub(in crate::cluster) fn new(length: Duration) -> Self {
        Self { until: BTreeMap::new(), length }
    }

    /// Leases a record. Returns `false` if it is already leased.
    pub(in crate::cluster) fn take(&mut self, number: u64, now: Instant) -> bool {
        if self.until.get(&number).is_some_and(|until| *until > now) {
            return false;
        }
        self.until.insert(number, now + self.length);
        true
    }

    /// Forgets a removed record.
    pub(in crate::cluster) fn forget(&mut self, number: u64) {
        self.until.remove(&number);
    }

    /// Returns the number of leased records.
    pub(in crate::cluster) fn held(&self, now: Instant) -> u64 {
        self.until.values().filter(|until| **until > now).count() as u64
    }

    /// Returns the end of the first lease.
    pub(in crate::cluster) fn next_free(&self, now: Instant) -> Option<Instant> {
        self.until.values().filter(|until| **until > now).min().copied()
    }
}
