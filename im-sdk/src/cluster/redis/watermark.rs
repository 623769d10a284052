//! Detection of a nearly full store of logs.
//!
//! A Redis at `maxmemory` refuses every append, also those of backends. Devices are refused before
//! that, so that the remaining memory is for backends, and for operations that free memory.

use std::sync::atomic::{AtomicBool, Ordering};

use super::connection::Redis;

/// The percentage below the watermark at which messages are accepted again. Without hysteresis the
/// state would change with every message at the watermark.
const HYSTERESIS_PERCENT: u64 = 2;

/// The last known fill state of the Redis that stores the logs.
#[derive(Debug)]
pub(in crate::cluster) struct Watermark {
    /// The store of logs, if it can be full.
    redis: Option<Redis>,
    percent: u8,
    is_nearly_full: AtomicBool,
}

impl Watermark {
    /// Returns the watermark of a store that is never full.
    pub(in crate::cluster) fn none() -> Self {
        Self { redis: None, percent: 100, is_nearly_full: AtomicBool::new(false) }
    }

    pub(in crate::cluster) fn new(redis: Redis, percent: u8) -> Self {
        Self { redis: Some(redis), percent, ..Self::none() }
    }

    /// Returns the last known state.
    pub(in crate::cluster) fn is_nearly_full(&self) -> bool {
        self.is_nearly_full.load(Ordering::Relaxed)
    }

    /// Updates the state. If the store does not answer, the last known state stays.
    pub(in crate::cluster) async fn look(&self) {
        let Some(redis) = &self.redis else { return };
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let Ok(infos) = redis.ask_masters(&command).await else { return };
        // A full master of a cluster refuses the users in its slots, and devices do not know which
        // ones those are.
        let used = infos.iter().filter_map(|info| used_percent(info)).max().unwrap_or_default();
        self.note(used, redis);
    }

    fn note(&self, used: u64, redis: &Redis) {
        let was_nearly_full = self.is_nearly_full();
        let is_nearly_full = is_above(used, self.percent, was_nearly_full);
        if is_nearly_full == was_nearly_full {
            return;
        }
        self.is_nearly_full.store(is_nearly_full, Ordering::Relaxed);
        let (redis, watermark) = (redis.address(), self.percent);
        if is_nearly_full {
            tracing::warn!(
                %redis, used_percent = used, watermark_percent = watermark,
                "Redis is nearly full and devices' messages are refused: give it more memory, or reduce the logs' bounds"
            );
        } else {
            tracing::info!(%redis, used_percent = used, "Redis has room again; devices' messages are accepted");
        }
    }
}

fn is_above(used: u64, percent: u8, was_above: bool) -> bool {
    let percent = u64::from(percent);
    // A Redis that uses nothing, or has no limit, has room whatever the watermark.
    used >= if was_above { percent.saturating_sub(HYSTERESIS_PERCENT).max(1) } else { percent }
}

/// Returns the used percentage of `maxmemory`, as Redis counts it before it refuses writes; `None`
/// without a limit.
fn used_percent(info: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    let limit = number("maxmemory").filter(|limit| *limit > 0)?;
    // Buffers for replicas and the append-only file do not count.
    let used = number("used_memory")?.saturating_sub(number("mem_not_counted_for_evict").unwrap_or_default());
    Some(used.saturating_mul(100) / limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_tells_how_full_it_is() {
        let info = "# Memory\r\nused_memory:950\r\nused_memory_human:950B\r\nmaxmemory:1000\r\nmaxmemory_human:1K\r\n\
                    mem_not_counted_for_evict:30\r\n";
        assert_eq!(used_percent(info), Some(92));
        assert_eq!(used_percent("used_memory:950\r\nmaxmemory:0\r\n"), None, "it has no limit");
        assert_eq!(used_percent(""), None);
    }

    #[test]
    fn there_is_room_again_a_little_below_the_watermark() {
        assert!(!is_above(89, 90, false) && is_above(90, 90, false));
        assert!(is_above(89, 90, true) && is_above(88, 90, true) && !is_above(87, 90, true));
        assert!(!is_above(0, 1, true) && !is_above(0, 2, true));
    }
}
