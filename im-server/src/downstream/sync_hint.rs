//! Asks all devices to sync when entries may be missing: one after the other, as fast as backends bring them up to date, measured
//! by the number of syncs in flight.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::{frame, pb};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

use super::Downstream;
use crate::registry::SHARDS;

/// The number of this server's syncs in flight at which the next device waits to be asked. One backend processes as many at once,
/// so that syncs of many servers wait no longer than devices do.
const MAX_IN_FLIGHT: usize = 256;

/// The maximum number of devices that were asked and whose syncs have not arrived yet.
const MAX_EXPECTED: usize = 1024;

/// How long an asked device is expected to sync. After that it may have good reasons not to.
const EXPECTED_FOR: Duration = Duration::from_secs(1);

/// The time within which a device syncs after it was asked.
const WITHIN_MS: u32 = 500;

/// The interval at which a round checks for room.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The pause between two rounds: one outage gives several reasons for a round.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// The requested round, and the state of the running one.
#[derive(Debug, Default)]
pub(crate) struct SyncHints {
    requested: Mutex<Option<Round>>,
    wake: Notify,
    /// Whether a round is running, or requested, in which devices compare their logs.
    comparing: AtomicBool,
}

/// A round over all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    rolled_back: bool,
}

impl SyncHints {
    /// Requests a round. With `rolled_back`, devices compare their logs too. Never waits.
    pub(crate) fn request(&self, rolled_back: bool) {
        if rolled_back {
            self.comparing.store(true, Ordering::Relaxed);
        }
        let mut requested = self.requested.lock();
        let before = requested.is_some_and(|round| round.rolled_back);
        *requested = Some(Round { rolled_back: rolled_back || before });
        drop(requested);
        self.wake.notify_one();
    }

    /// Returns whether devices are being asked to compare their logs. The round may have passed over a device that connects now.
    pub(crate) fn are_comparing(&self) -> bool {
        self.comparing.load(Ordering::Relaxed)
    }

    async fn next(&self) -> Round {
        loop {
            let round = self.requested.lock().take();
            if let Some(round) = round {
                return round;
            }
            self.wake.notified().await;
        }
    }
}

/// Runs the requested rounds until the server has stopped.
pub(super) async fn run(downstream: Arc<Downstream>) {
    let rounds = async {
        loop {
            let round = downstream.sync_hints.next().await;
            ask_all(&downstream, round).await;
            sleep(ROUND_PAUSE).await;
        }
    };
    tokio::select! {
        () = downstream.lifecycle.stopped.cancelled() => {}
        () = rounds => {}
    }
}

async fn ask_all(downstream: &Downstream, Round { rolled_back }: Round) {
    let hint = pb::SyncHint { within_ms: WITHIN_MS, rolled_back };
    let hint = frame::encode(pb::frame::Body::SyncHint(hint));
    let (registry, syncs) = (&downstream.registry, &downstream.upstream.syncs);
    let connections = registry.len();
    tracing::info!(connections, rolled_back, "something may be missing: devices are asked to sync");
    let mut pace = Pace { requested: syncs.requested(), expected: VecDeque::new() };
    for shard in 0..SHARDS {
        for connection in registry.in_shard(shard) {
            while !pace.has_room(syncs.in_flight(), syncs.requested(), Instant::now()) {
                sleep(POLL_INTERVAL).await;
            }
            connection.outbox.try_push(hint.clone());
        }
    }
    if rolled_back {
        let hints = &downstream.sync_hints;
        let requested = hints.requested.lock();
        let again = requested.is_some_and(|round| round.rolled_back);
        hints.comparing.store(again, Ordering::Relaxed);
    }
}

/// The devices of a round that are expected to sync.
struct Pace {
    /// The number of requested syncs at the last check.
    requested: u64,
    /// The times at which devices were asked whose syncs have not arrived yet.
    expected: VecDeque<Instant>,
}

impl Pace {
    /// Returns whether another device may be asked now; its sync is then expected.
    fn has_room(&mut self, in_flight: usize, requested: u64, now: Instant) -> bool {
        let arrived = requested.saturating_sub(std::mem::replace(&mut self.requested, requested));
        let arrived = usize::try_from(arrived).unwrap_or(usize::MAX).min(self.expected.len());
        self.expected.drain(..arrived);
        let is_late = |at: &Instant| now.saturating_duration_since(*at) >= EXPECTED_FOR;
        while self.expected.front().is_some_and(is_late) {
            self.expected.pop_front();
        }
        if in_flight >= MAX_IN_FLIGHT || self.expected.len() >= MAX_EXPECTED {
            return false;
        }
        self.expected.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_asked_as_fast_as_syncs_end() {
        let (mut pace, start) = (Pace { requested: 0, expected: VecDeque::new() }, Instant::now());
        let mut ask =
            |under_way, asked, now| (0..10_000).filter(|_| pace.has_room(under_way, asked, now)).count();
        assert_eq!(ask(MAX_IN_FLIGHT, 0, start), 0, "back ends have enough to do");
        assert_eq!(ask(0, 0, start), MAX_EXPECTED);
        assert_eq!(ask(MAX_IN_FLIGHT - 1, 100, start), 100, "as many have asked");
        assert_eq!(ask(0, 100, start), 0);
        assert_eq!(ask(0, 100, start + EXPECTED_FOR), MAX_EXPECTED, "the others do not");
    }

    #[tokio::test]
    async fn what_is_wanted_together_is_one_round() {
        let hints = SyncHints::default();
        hints.request(false);
        assert!(!hints.are_comparing());
        hints.request(true);
        hints.request(false);
        assert!(hints.are_comparing());
        assert_eq!(hints.next().await, Round { rolled_back: true });
        assert!(tokio::time::timeout(POLL_INTERVAL, hints.next()).await.is_err());
    }
}
