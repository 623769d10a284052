//! Asks all devices to sync where something may be missing, one after the other: as fast as back ends bring them up to date, which
//! the syncs that are under way tell.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_proto::{frame, pb};
use tokio::{sync::Notify, time::sleep};

use crate::{registry::SHARDS, shared::Shared};

/// How many syncs of this server may be under way before the next device is asked: as many as one back end does at once, so
/// that many servers together do not have them wait for longer than devices do.
const UNDER_WAY: usize = 256;

/// How many devices may have been asked whose syncs are not here yet.
const EXPECTED: usize = 1024;

/// A device that has not asked by then is not expected to: it may have good reasons, or none.
const EXPECTED_FOR: Duration = Duration::from_secs(1);

/// Within which time a device asks.
const WITHIN_MS: u32 = 500;

/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_millis(20);

/// Between two rounds: an outage has many reasons for one.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct SyncHints {
    wanted: Mutex<Option<Round>>,
    wake: Notify,
    /// A round is under way in which devices are asked to compare their logs.
    comparing: AtomicBool,
}

/// What devices are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    rolled_back: bool,
}

impl SyncHints {
    /// Has all devices asked; with `rolled_back` to compare their logs too. Never waits.
    pub(crate) fn want(&self, rolled_back: bool) {
        if rolled_back {
            self.comparing.store(true, Ordering::Relaxed);
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wanted.is_some_and(|round| round.rolled_back);
        *wanted = Some(Round { rolled_back: rolled_back || before });
        drop(wanted);
        self.wake.notify_one();
    }

    /// Whether devices are just being asked to compare their logs: who connects now may have been passed over.
    pub(crate) fn are_comparing(&self) -> bool {
        self.comparing.load(Ordering::Relaxed)
    }

    async fn next(&self) -> Round {
        loop {
            let round = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(round) = round {
                return round;
            }
            self.wake.notified().await;
        }
    }
}

/// Asks whenever it is wanted, until the server has stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let rounds = async {
        loop {
            let round = shared.hints.next().await;
            ask_all(&shared, round).await;
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = shared.stopped.cancelled() => {}
        () = rounds => {}
    }
}

async fn ask_all(shared: &Shared, Round { rolled_back }: Round) {
    let hint = pb::SyncHint { within_ms: WITHIN_MS, rolled_back };
    let hint = frame::encode(pb::frame::Body::SyncHint(hint));
    let connections = shared.registry.len();
    tracing::info!(connections, rolled_back, "something may be missing: devices are asked to sync");
    let mut pace = Pace { asked: shared.syncs.asked(), expected: VecDeque::new() };
    for shard in 0..SHARDS {
        for connection in shared.registry.in_shard(shard) {
            while !pace.has_room(shared.syncs.outstanding(), shared.syncs.asked(), Instant::now()) {
                sleep(LOOK).await;
            }
            connection.outbox.try_push(hint.clone());
        }
    }
    if rolled_back {
        let wanted = shared.hints.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let again = wanted.is_some_and(|round| round.rolled_back);
        shared.hints.comparing.store(again, Ordering::Relaxed);
    }
}

/// Who has been asked in a round and is expected to sync.
struct Pace {
    /// How many syncs devices had asked for when it was looked at last.
    asked: u64,
    /// When those were asked whose syncs are not here yet.
    expected: VecDeque<Instant>,
}

impl Pace {
    /// Whether one more device may be asked now; it is expected then.
    fn has_room(&mut self, under_way: usize, asked: u64, now: Instant) -> bool {
        let came = asked.saturating_sub(std::mem::replace(&mut self.asked, asked));
        let came = usize::try_from(came).unwrap_or(usize::MAX).min(self.expected.len());
        self.expected.drain(..came);
        let is_late = |at: &Instant| now.saturating_duration_since(*at) >= EXPECTED_FOR;
        while self.expected.front().is_some_and(is_late) {
            self.expected.pop_front();
        }
        if under_way >= UNDER_WAY || self.expected.len() >= EXPECTED {
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
        let (mut pace, start) = (Pace { asked: 0, expected: VecDeque::new() }, Instant::now());
        let mut ask =
            |under_way, asked, now| (0..10_000).filter(|_| pace.has_room(under_way, asked, now)).count();
        assert_eq!(ask(UNDER_WAY, 0, start), 0, "back ends have enough to do");
        assert_eq!(ask(0, 0, start), EXPECTED);
        assert_eq!(ask(UNDER_WAY - 1, 100, start), 100, "as many have asked");
        assert_eq!(ask(0, 100, start), 0);
        assert_eq!(ask(0, 100, start + EXPECTED_FOR), EXPECTED, "the others do not");
    }

    #[tokio::test]
    async fn what_is_wanted_together_is_one_round() {
        let hints = SyncHints::default();
        hints.want(false);
        assert!(!hints.are_comparing());
        hints.want(true);
        hints.want(false);
        assert!(hints.are_comparing());
        assert_eq!(hints.next().await, Round { rolled_back: true });
        assert!(tokio::time::timeout(LOOK, hints.next()).await.is_err());
    }
}
