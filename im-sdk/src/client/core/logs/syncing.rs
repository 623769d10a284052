//! The pace of syncs: one at a time, and never in a loop.
//!
//! Hints are for all devices of a server. Like routine checks, they mostly bring nothing, and then such syncs become rarer.
//! They must not delay a log that is known to miss entries, so the two kinds have separate paces.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::client::core::backoff::random_within;

/// The timers of syncs. The contents are up to [`super::Logs`].
#[derive(Debug)]
pub(super) struct Syncing {
    /// The approximate interval of checks without any reason.
    every: Duration,
    /// The requested sync that is not answered.
    outstanding: Option<SyncInFlight>,
    /// The pace of syncs that a log wants.
    wanted: Pace,
    /// The pace of hints and checks.
    routine: Pace,
    /// The time to repeat a lost sync that a log wanted.
    again_at: Option<Instant>,
    /// The time of the next check without any reason. `None` without a connection.
    check_at: Option<Instant>,
    /// The time of a sync after a hint of the server, or after a lost sync without another reason.
    hint_at: Option<Instant>,
    /// Set while the driver reads. While it does not, silence says nothing about the server.
    reading: bool,
}

#[derive(Debug)]
struct SyncInFlight {
    since: Instant,
    /// The time of the last part of its answer.
    heard: Instant,
    has_progress: bool,
    /// Set if a log wanted it.
    wanted: bool,
}

/// A pace that slows down while syncs bring nothing.
#[derive(Debug, Default)]
struct Pace {
    /// The earliest time of the next sync, after those that brought nothing.
    not_before: Option<Instant>,
    /// The number of syncs in a row that brought nothing.
    in_vain: u32,
}

impl Pace {
    fn allow(&self, at: Instant) -> Instant {
        self.not_before.map_or(at, |earliest| earliest.max(at))
    }

    fn forget_what_is_long_ago(&mut self, now: Instant) {
        if self.not_before.is_some_and(|at| at + LONGEST_DELAY < now) {
            self.in_vain = 0;
        }
    }

    fn back_off(&mut self, now: Instant, rng: &mut StdRng) {
        let ceiling = SHORTEST_DELAY.saturating_mul(2_u32.saturating_pow(self.in_vain)).min(LONGEST_DELAY);
        self.in_vain = self.in_vain.saturating_add(1);
        self.not_before = Some(now + ceiling / 2 + random_within(rng, ceiling / 2));
    }
}

impl SyncInFlight {
    fn lost_at(&self) -> Instant {
        (self.heard + SILENCE).min(self.since + LONGEST)
    }
}

impl Syncing {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            outstanding: None,
            wanted: Pace::default(),
            routine: Pace::default(),
            again_at: None,
            check_at: None,
            hint_at: None,
            reading: true,
        }
    }

    /// Handles a new connection, whose `Hello` began a sync.
    pub(super) fn handle_connected(&mut self, now: Instant, rng: &mut StdRng) {
        // Reconnecting has its own backoff.
        self.reset_pace();
        self.begin(now, rng, false);
        // A device that is up to date gets nothing, and must not be slowed down for that.
        self.handle_progress(now);
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.outstanding = None;
        self.check_at = None;
        self.hint_at = None;
        self.again_at = None;
    }

    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        self.reading = reading;
        self.handle_activity(now);
    }

    /// Notes that the server is working on the sync.
    pub(super) fn handle_activity(&mut self, now: Instant) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.heard = now;
        }
    }

    /// Notes that the sync has brought something.
    pub(super) fn handle_progress(&mut self, now: Instant) {
        self.handle_activity(now);
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.has_progress = true;
        }
    }

    pub(super) fn handle_hint(&mut self, now: Instant, rng: &mut StdRng, within: Duration) {
        let at = now + random_within(rng, within.min(self.every));
        self.hint_at = Some(self.hint_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn handle_done(&mut self, now: Instant, rng: &mut StdRng) {
        if let Some(done) = self.outstanding.take() {
            self.learn(now, rng, &done);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut StdRng) {
        if self.lost_at().is_none_or(|at| now < at) {
            return;
        }
        if let Some(lost) = self.outstanding.take() {
            *(if lost.wanted { &mut self.again_at } else { &mut self.hint_at }) = Some(now);
            self.learn(now, rng, &lost);
        }
    }

    /// Returns the time of the next sync. `wanted` is the time at which a log wants one.
    pub(super) fn due_at(&self, wanted: Option<Instant>) -> Option<Instant> {
        if self.outstanding.is_some() || !self.reading {
            return None;
        }
        let check = self.check_at?;
        let routine = self.routine.allow(self.hint_at.map_or(check, |hint| hint.min(check)));
        Some(self.wanted_at(wanted).map_or(routine, |wanted| wanted.min(routine)))
    }

    fn wanted_at(&self, wanted: Option<Instant>) -> Option<Instant> {
        let at = [wanted, self.again_at].into_iter().flatten().min()?;
        Some(self.wanted.allow(at))
    }

    /// Returns the time at which the outstanding sync counts as lost.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.outstanding.as_ref().filter(|_| self.reading).map(SyncInFlight::lost_at)
    }

    /// Begins a sync. `wanted` means that a log wants it.
    pub(super) fn begin(&mut self, now: Instant, rng: &mut StdRng, wanted: bool) {
        self.wanted.forget_what_is_long_ago(now);
        self.routine.forget_what_is_long_ago(now);
        let wanted = wanted || self.again_at.is_some();
        self.outstanding = Some(SyncInFlight { since: now, heard: now, has_progress: false, wanted });
        self.hint_at = None;
        self.again_at = None;
        self.check_at = Some(now + self.every * 3 / 4 + random_within(rng, self.every / 2));
    }

    fn learn(&mut self, now: Instant, rng: &mut StdRng, ended: &SyncInFlight) {
        if ended.has_progress {
            return self.reset_pace();
        }
        self.routine.back_off(now, rng);
        if ended.wanted {
            self.wanted.back_off(now, rng);
        }
    }

    fn reset_pace(&mut self) {
        self.wanted = Pace::default();
        self.routine = Pace::default();
    }
}

/// The time without an answer after which a sync counts as lost.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// The total time after which a sync counts as lost: other entries may have looked like its answer.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// The ceiling of the delay after a sync that brought nothing. Each further one doubles it.
const SHORTEST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay between two syncs.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
