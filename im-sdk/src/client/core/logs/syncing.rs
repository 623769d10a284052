//! When to ask for a sync: one at a time, and never in a loop.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::client::core::backoff::random_within;

/// The timers of syncs. What is asked for is [`super::Logs`]' business.
#[derive(Debug)]
pub(super) struct Syncing {
    /// About how often to check without any reason.
    every: Duration,
    /// Asked and not answered.
    outstanding: Option<Outstanding>,
    /// When the next one may follow, after those that brought nothing.
    not_before: Option<Instant>,
    /// How many in a row brought nothing.
    fruitless: u32,
    /// When to check without any reason. `None`: there is no connection.
    check_at: Option<Instant>,
    /// When to ask because the server said so, or because the last one was lost.
    hint_at: Option<Instant>,
    /// While nothing is read, silence says nothing about the server.
    reading: bool,
}

#[derive(Debug)]
struct Outstanding {
    since: Instant,
    /// When something came for it last.
    heard: Instant,
    fruitful: bool,
}

impl Outstanding {
    fn lost_at(&self) -> Instant {
        (self.heard + SILENCE).min(self.since + LONGEST)
    }
}

impl Syncing {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            outstanding: None,
            not_before: None,
            fruitless: 0,
            check_at: None,
            hint_at: None,
            reading: true,
        }
    }

    /// A connection is there, and its `Hello` began a sync.
    pub(super) fn handle_connected(&mut self, now: Instant, rng: &mut StdRng) {
        // Reconnecting has a backoff of its own.
        self.not_before = None;
        self.fruitless = 0;
        self.begin(now, rng);
        // Being up to date is no fault.
        self.handle_fruit(now);
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.outstanding = None;
        self.check_at = None;
        self.hint_at = None;
    }

    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        self.reading = reading;
        self.handle_sign(now);
    }

    /// The server is at work.
    pub(super) fn handle_sign(&mut self, now: Instant) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.heard = now;
        }
    }

    /// An entry was taken.
    pub(super) fn handle_fruit(&mut self, now: Instant) {
        self.handle_sign(now);
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.fruitful = true;
        }
    }

    pub(super) fn handle_hint(&mut self, now: Instant, rng: &mut StdRng, within: Duration) {
        let at = now + random_within(rng, within.min(self.every));
        self.hint_at = Some(self.hint_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn handle_done(&mut self, now: Instant, rng: &mut StdRng) {
        match self.outstanding.take() {
            Some(done) if done.fruitful => {
                self.fruitless = 0;
                self.not_before = None;
            }
            Some(_) => self.back_off(now, rng),
            None => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut StdRng) {
        if self.lost_at().is_some_and(|at| at <= now) {
            self.outstanding = None;
            self.hint_at = Some(now);
            self.back_off(now, rng);
        }
    }

    /// When one is to be asked for, given when some log wants one.
    pub(super) fn due_at(&self, wanted: Option<Instant>) -> Option<Instant> {
        if self.outstanding.is_some() || !self.reading {
            return None;
        }
        let check = self.check_at?;
        let at = [self.hint_at, wanted].into_iter().flatten().fold(check, Instant::min);
        Some(self.not_before.map_or(at, |earliest| earliest.max(at)))
    }

    /// When to give the outstanding one up.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.outstanding.as_ref().filter(|_| self.reading).map(Outstanding::lost_at)
    }

    /// One is asked for.
    pub(super) fn begin(&mut self, now: Instant, rng: &mut StdRng) {
        if self.not_before.is_some_and(|at| at + LONGEST_DELAY < now) {
            self.fruitless = 0;
        }
        self.outstanding = Some(Outstanding { since: now, heard: now, fruitful: false });
        self.hint_at = None;
        self.check_at = Some(now + self.every * 3 / 4 + random_within(rng, self.every / 2));
    }

    fn back_off(&mut self, now: Instant, rng: &mut StdRng) {
        let ceiling = SHORTEST_DELAY.saturating_mul(2_u32.saturating_pow(self.fruitless)).min(LONGEST_DELAY);
        self.fruitless = self.fruitless.saturating_add(1);
        self.not_before = Some(now + ceiling / 2 + random_within(rng, ceiling / 2));
    }
}

/// A sync of which nothing was heard for this long is lost.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// A sync that takes longer than this in all is lost: what is heard may be other entries.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// The ceiling of the delay after a sync that brought nothing. Each further one doubles it.
const SHORTEST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay between two syncs.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
