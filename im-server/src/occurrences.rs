//! How often something happened that anybody out there can cause: each is counted, and said in the log at most once in a while,
//! so that a flood fills no log and what happens once is seen at once, however long the server has been running.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Between two lines about the same.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Occurrences {
    began: Instant,
    all: AtomicU64,
    said: AtomicU64,
    /// In milliseconds since `began`.
    quiet_until: AtomicU64,
}

/// Lines of the server that devices can cause, by connecting and leaving while something is away, or in great numbers.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    /// A route cannot be registered.
    pub(crate) unregistered: Occurrences,
    /// A route cannot be released.
    pub(crate) unreleased: Occurrences,
    /// A displaced device cannot be kicked.
    pub(crate) unkicked: Occurrences,
    /// A lost route is restored.
    pub(crate) restored: Occurrences,
    /// Too many joins and leaves wait.
    pub(crate) crowded: Occurrences,
}

impl Default for Occurrences {
    fn default() -> Self {
        let (all, said, quiet_until) = Default::default();
        Self { began: Instant::now(), all, said, quiet_until }
    }
}

impl Occurrences {
    /// Counts one. `Some`: it is time for a line, which stands for so many, this one included.
    pub(crate) fn note(&self) -> Option<u64> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<u64> {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let now = milliseconds(now.saturating_duration_since(self.began));
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        if now < quiet_until {
            return None;
        }
        let next = now + milliseconds(PAUSE);
        // Who is second has been counted, and the next line tells.
        self.quiet_until.compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(all - self.said.swap(all, Ordering::Relaxed).min(all))
    }

    /// Since the server started.
    pub(crate) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_a_flood_once_in_a_while() {
        let occurrences = Occurrences::default();
        let at = |ms| occurrences.note_at(occurrences.began + Duration::from_millis(ms));
        assert_eq!(at(0), Some(1));
        assert!((1..1000).all(|number| at(number).is_none()));
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(1001));
        assert_eq!(at(10_001), None);
        // Years of quiet, and it is news again.
        assert_eq!(at(100_000_000_000), Some(2));
        assert_eq!(occurrences.all(), 1004);
    }
}
