//! Throttles log messages that any client can cause. Every occurrence is counted, and a message is logged at most once per pause. A
//! flood does not fill the log, and a single occurrence is logged at once, however long the server has been running.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The minimum time between two messages of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts occurrences of one kind, and decides when to log.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    began: Instant,
    total: AtomicU64,
    logged: AtomicU64,
    /// In milliseconds since `began`.
    quiet_until: AtomicU64,
}

/// The throttles of messages that devices can cause by connecting and leaving while a service is unavailable, or in great numbers.
#[derive(Debug, Default)]
pub(crate) struct LogThrottles {
    /// A route cannot be registered.
    pub(crate) register_failed: LogThrottle,
    /// A route cannot be released.
    pub(crate) release_failed: LogThrottle,
    /// A displaced device cannot be kicked.
    pub(crate) kick_failed: LogThrottle,
    /// A lost route is restored.
    pub(crate) route_restored: LogThrottle,
    /// Joins and leaves found no room.
    pub(crate) changes_rejected: LogThrottle,
}

impl Default for LogThrottle {
    fn default() -> Self {
        let (total, logged, quiet_until) = Default::default();
        Self { began: Instant::now(), total, logged, quiet_until }
    }
}

impl LogThrottle {
    /// Counts an occurrence. If a message is due, returns the number of occurrences since the last one, this one included.
    pub(crate) fn note(&self) -> Option<u64> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<u64> {
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        let now = milliseconds(now.saturating_duration_since(self.began));
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        if now < quiet_until {
            return None;
        }
        let next = now + milliseconds(PAUSE);
        // If two threads get here at once, the second one's occurrence is counted in the next message.
        self.quiet_until.compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(total - self.logged.swap(total, Ordering::Relaxed).min(total))
    }

    /// Returns the number of occurrences since the server started.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
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
        let throttle = LogThrottle::default();
        let at = |ms| throttle.note_at(throttle.began + Duration::from_millis(ms));
        assert_eq!(at(0), Some(1));
        assert!((1..1000).all(|number| at(number).is_none()));
        assert_eq!(at(9_999), None);
        assert_eq!(at(10_000), Some(1001));
        assert_eq!(at(10_001), None);
        // After years without an occurrence, the next one is logged.
        assert_eq!(at(100_000_000_000), Some(2));
        assert_eq!(throttle.total(), 1004);
    }
}
