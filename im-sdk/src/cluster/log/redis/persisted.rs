//! Inboxes that a back end has made last for good.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::cluster::log::LogId;

/// How many inboxes are remembered, in 512 KiB. One that takes another's place has it asked for again, which is no more than a
/// short command.
const PLACES: usize = 65_536;

/// How long an inbox is taken as lasting: a failover may have lost that.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Remembers inboxes by their hashes, each in the one place where it may be: no lock, and nothing to clear.
#[derive(Debug)]
pub(super) struct Persisted {
    places: Box<[AtomicU64]>,
    hashes: RandomState,
    started: Instant,
}

impl Default for Persisted {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { places, hashes: RandomState::new(), started: Instant::now() }
    }
}

impl Persisted {
    /// Whether an inbox is to be made last now. Whoever asks again within the hour is told that it is not.
    pub(super) fn is_due(&self, log: &LogId) -> bool {
        self.is_due_in(log, self.started.elapsed().as_secs() / REMEMBERED.as_secs())
    }

    fn is_due_in(&self, log: &LogId, hour: u64) -> bool {
        let hash = self.hashes.hash_one(log);
        let Some(place) = self.places.get(hash as usize % PLACES) else { return true };
        // Another one each hour, and never 0, which stands for nothing.
        let hash = hash.wrapping_add(hour << 32).max(1);
        // Two at once both ask, or each takes the other's place: both are harmless.
        place.load(Ordering::Relaxed) != hash && place.swap(hash, Ordering::Relaxed) != hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_is_due_once_an_hour() {
        let (persisted, bob) = (Persisted::default(), LogId::Inbox("bob".parse().unwrap()));
        assert!(persisted.is_due(&bob));
        assert!(!persisted.is_due(&bob));
        assert!(persisted.is_due_in(&bob, 1), "an hour later");
        assert!(!persisted.is_due_in(&bob, 1));
    }
}
