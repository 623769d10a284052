//! Counters of rooms: additions within a short time go out as one message.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    backend::{
        send::{error::SendError, receipt::Receipt},
        tasks::Tasks,
    },
    id::{ChannelId, InvalidId},
    log_throttle::throttled,
};

/// The time over which additions are summed up. Five messages in a second look smooth.
const WINDOW: Duration = Duration::from_millis(200);

/// The most running counters. Each is a task, and a message in 200 ms.
const MAX_COUNTERS: usize = 10_000;

/// Sums that have not been sent.
#[derive(Debug, Default)]
pub(in crate::backend) struct Counts {
    running: Mutex<HashMap<(ChannelId, String), u64>>,
}

/// An addition was not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CountError {
    /// The room has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// Too many counters are running.
    #[error("more than {MAX_COUNTERS} counters run at the same time")]
    TooMany,
}

impl Counts {
    /// Adds to a sum. Returns `true` if the addition is the first of its window.
    fn add(&self, key: (ChannelId, String), add: u64) -> Result<bool, CountError> {
        let mut running = self.running();
        let full = running.len() >= MAX_COUNTERS;
        match running.entry(key) {
            Entry::Occupied(mut sum) => {
                *sum.get_mut() = sum.get().saturating_add(add);
                Ok(false)
            }
            Entry::Vacant(_) if full => Err(CountError::TooMany),
            Entry::Vacant(sum) => {
                sum.insert(add);
                Ok(true)
            }
        }
    }

    fn take(&self, key: &(ChannelId, String)) -> u64 {
        self.running().remove(key).unwrap_or_default()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(ChannelId, String), u64>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters of rooms, and the tasks that send their sums.
#[derive(Debug)]
pub(in crate::backend) struct RoomCounters {
    counts: Arc<Counts>,
    tasks: Arc<Tasks>,
}

impl RoomCounters {
    pub(super) fn new(tasks: Arc<Tasks>) -> Self {
        Self { counts: Arc::default(), tasks }
    }

    /// Adds to a counter. At the end of the window `send` sends the sum.
    pub(in crate::backend) fn count<F>(
        &self,
        room: ChannelId,
        kind: &str,
        add: u64,
        send: impl FnOnce(String, u64) -> F + Send + 'static,
    ) -> Result<(), CountError>
    where
        F: Future<Output = Result<Receipt, SendError>> + Send,
    {
        let key = (room, kind.to_owned());
        if !self.counts.add(key.clone(), add)? {
            return Ok(());
        }
        let (counts, stop) = (Arc::clone(&self.counts), self.tasks.stop().clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased; // Nothing is sent after the end.
                () = stop.cancelled() => return,
                () = sleep(WINDOW) => {}
            }
            let sum = counts.take(&key);
            let (room, kind) = key;
            if let Err(error) = send(kind, sum).await {
                throttled!(warn, %room, %error, "cannot send the sum of a counter");
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_window_is_one_sum() {
        let counts = Counts::default();
        let key = |room: &str, kind: &str| (room.parse::<ChannelId>().unwrap(), kind.to_owned());
        assert_eq!(counts.add(key("r", "like"), 1), Ok(true));
        assert_eq!(counts.add(key("r", "like"), 41), Ok(false));
        assert_eq!(counts.add(key("r", "rose"), 7), Ok(true), "another kind");
        assert_eq!(counts.add(key("s", "like"), u64::MAX), Ok(true), "another room");
        assert_eq!(counts.add(key("s", "like"), 1), Ok(false));
        assert_eq!(counts.take(&key("r", "like")), 42);
        assert_eq!(counts.take(&key("s", "like")), u64::MAX);
        assert_eq!(counts.add(key("r", "like"), 1), Ok(true), "the next window");
    }

    #[test]
    fn there_are_so_many_counters_and_no_more() {
        let counts = Counts::default();
        for number in 0..MAX_COUNTERS {
            assert_eq!(counts.add(("r".parse().unwrap(), number.to_string()), 1), Ok(true));
        }
        assert_eq!(counts.add(("r".parse().unwrap(), "one more".into()), 1), Err(CountError::TooMany));
        assert_eq!(counts.add(("r".parse().unwrap(), "7".into()), 1), Ok(false), "this one runs");
    }
}
