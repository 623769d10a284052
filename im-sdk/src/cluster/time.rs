//! Wall-clock time and durations in milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the wall clock of this machine, in milliseconds since the Unix epoch; 0 if it is set before that.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

/// Converts a duration to whole milliseconds, saturating at `u64::MAX`.
pub(in crate::cluster) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
