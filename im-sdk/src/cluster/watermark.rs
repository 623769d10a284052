//! Whether the store of logs is nearly full.
//!
//! A Redis that has reached `maxmemory` refuses every append, also those of back ends. Devices are refused before that, so
//! that what is left is for back ends, and for whoever makes room.

use std::sync::atomic::{AtomicBool, Ordering};

use super::redis::Redis;

/// How many percent below the watermark there is room again. Without a difference the answer would change with every
/// message at the watermark.
const HYSTERESIS_PERCENT: u64 = 2;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Watermark {
    /// What keeps the logs, where that can be full.
    redis: Option<Redis>,
    percent: u8,
    is_nearly_full: AtomicBool,
}

impl Watermark {
    /// Of a store that is never full.
    pub(super) fn none() -> Self {
        Self { redis: None, percent: 100, is_nearly_full: AtomicBool::new(false) }
    }

    pub(super) fn new(redis: Redis, percent: u8) -> Self {
        Self { redis: Some(redis), percent, ..Self::none() }
    }

    /// As it was found last.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.is_nearly_full.load(Ordering::Relaxed)
    }

    /// Asks. A store that does not answer is as it was found last.
    pub(super) async fn look(&self) {
        let Some(redis) = &self.redis else { return };
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let Ok(infos) = redis.ask_masters(&command).await else { return };
        // One full master of a cluster refuses the users whose slots it has: devices do not know which ones.
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
        let (redis, watermark) = (redis.place(), self.percent);
        if is_nearly_full {
            tracing::warn!(
                %redis, used_percent = used, watermark_percent = watermark,
                "this Redis is nearly full: devices' messages are refused; give it more memory, or let logs keep less"
            );
        } else {
            tracing::info!(%redis, used_percent = used, "this Redis has room again: devices' messages are taken");
        }
    }
}

fn is_above(used: u64, percent: u8, was_above: bool) -> bool {
    let percent = u64::from(percent);
    // A Redis that uses nothing, or has no limit, has room whatever the watermark.
    used >= if was_above { percent.saturating_sub(HYSTERESIS_PERCENT).max(1) } else { percent }
}

/// How much of `maxmemory` is used, as Redis counts it before it refuses writes. `None`: it has no limit.
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
