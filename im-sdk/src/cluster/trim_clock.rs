//! Clocks by which logs are trimmed.

use std::{fmt, sync::Arc, time::Instant};

use crate::cluster::time::unix_ms;

/// The system's clock while it agrees with the monotonic one. If they differ, the earlier time
/// counts: no entry becomes too old because a clock jumped ahead, or because one that was ahead was
/// set right.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct SteadyClock {
    started: Instant,
    started_ms: u64,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self { started: Instant::now(), started_ms: unix_ms() }
    }
}

impl SteadyClock {
    /// Returns milliseconds since the Unix epoch.
    pub(in crate::cluster) fn now_ms(&self) -> u64 {
        self.earlier_of(unix_ms())
    }

    fn earlier_of(&self, wall_ms: u64) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        wall_ms.min(self.started_ms.saturating_add(elapsed))
    }
}

/// The clock by which shared logs are trimmed; returns `None` while the time is unknown.
#[derive(Clone)]
pub(in crate::cluster) struct TrimClock(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl TrimClock {
    pub(in crate::cluster) fn new(now_ms: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    pub(in crate::cluster) fn now_ms(&self) -> Option<u64> {
        (self.0)()
    }
}

impl Default for TrimClock {
    fn default() -> Self {
        let clock = SteadyClock::default();
        Self::new(move || Some(clock.now_ms()))
    }
}

impl fmt::Debug for TrimClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TrimClock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_both_clocks_counts() {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let clock = SteadyClock::default();
        let now = unix_ms();
        assert!(clock.earlier_of(now + HOUR_MS) < now + HOUR_MS / 2, "a wall clock that jumped ahead");
        assert_eq!(clock.earlier_of(now - HOUR_MS), now - HOUR_MS, "one that was set back");
        // It was an hour ahead when the process started, and is right now.
        let ahead = SteadyClock { started_ms: now + HOUR_MS, ..clock };
        assert_eq!(ahead.earlier_of(now), now);
    }
}
