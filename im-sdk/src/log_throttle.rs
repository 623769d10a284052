//! Throttled log messages about peers and outages. Each kind is counted and logged at most once in
//! ten seconds, so that no flood fills a disk, and a single event is logged at once.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The minimum time between two messages of one kind.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

/// The origin of all throttles' time: a static's constructor cannot read a clock.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Counts the occurrences of one kind, and decides when the next message about it is due. Meant for
/// statics, see [`throttled!`].
#[derive(Debug)]
pub(crate) struct LogThrottle {
    total: AtomicU64,
    logged: AtomicU64,
    /// In milliseconds since `EPOCH`.
    quiet_until: AtomicU64,
}

impl LogThrottle {
    pub(crate) const fn new() -> Self {
        Self { total: AtomicU64::new(0), logged: AtomicU64::new(0), quiet_until: AtomicU64::new(0) }
    }

    /// Counts one occurrence. Returns the number of occurrences that a message stands for, this one
    /// included, if one is due.
    pub(crate) fn occurrence(&self) -> Option<u64> {
        let now = EPOCH.elapsed().as_millis();
        self.occurrence_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn occurrence_at(&self, now_ms: u64) -> Option<u64> {
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        if now_ms < quiet_until {
            return None;
        }
        let next = now_ms.saturating_add(u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX));
        // A concurrent one has been counted: the next message includes it.
        self.quiet_until.compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(total - self.logged.swap(total, Ordering::Relaxed).min(total))
    }
}

/// Logs as the macro of `tracing` of that name does, at most once in [`PAUSE`] for each place in
/// the code. The field `occurrences` is the number of events that the message stands for.
///
/// ```ignore
/// throttled!(warn, %user, %error, "history could not be read");
/// ```
macro_rules! throttled {
    ($level:ident, $($line:tt)+) => {{
        static THROTTLE: $crate::log_throttle::LogThrottle = $crate::log_throttle::LogThrottle::new();
        if let Some(occurrences) = THROTTLE.occurrence() {
            tracing::$level!(occurrences, $($line)+);
        }
    }};
}

pub(crate) use throttled;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_at_once_and_a_flood_once_in_a_while() {
        let throttle = LogThrottle::new();
        assert_eq!(throttle.occurrence_at(5), Some(1));
        assert!((6..1000).all(|now| throttle.occurrence_at(now).is_none()));
        assert_eq!(throttle.occurrence_at(10_004), None);
        assert_eq!(throttle.occurrence_at(10_005), Some(996));
        assert_eq!(throttle.occurrence_at(10_006), None);
        assert_eq!(throttle.occurrence_at(u64::MAX), Some(2), "after a long rest at once");
    }

    #[test]
    fn threads_at_once_are_all_counted() {
        let throttle = LogThrottle::new();
        let logged: u64 = std::thread::scope(|scope| {
            let count = || (0..1000).filter_map(|now| throttle.occurrence_at(now)).sum::<u64>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let rest = throttle.occurrence_at(20_000).unwrap();
        assert_eq!(logged + rest, 4001);
    }
}
