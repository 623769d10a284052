//! The logs that this device follows: each entry once and in order, or an explicit reset.
//!
//! ```text
//!            next one                     +-----------+
//!  entry --+--------> taken, and what was | position  | --> events
//!          |          held and is next    +-----------+
//!          +- later -> held --- 200 ms ---+
//!          +- known, another id ----------+--> Sync, one at a time --> entries, Reset, SyncDone
//!          +- known -> dropped            |
//!             end beyond the position ----+
//!             hint, long timer -----------+
//! ```

mod acks;
mod follower;
mod frames;
mod syncing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

pub(super) use self::follower::{Entry, Mark};
use self::{acks::Acks, follower::LogFollower, syncing::Syncing};
#[cfg(test)]
pub(super) use self::{
    acks::INTERVAL as ACK_INTERVAL,
    follower::{HOLD, MAX_HELD},
};
use crate::client::{Log, Position, ResetReason, device_store::SavedCursor};

/// A change of a log for the application.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Entry(Log, Entry),
    Reset(Log, Mark, ResetReason),
}

/// Every log that this device follows.
#[derive(Debug)]
pub(super) struct Logs {
    followers: BTreeMap<Log, LogFollower>,
    /// The logs that want a sync, now or soon, or hold entries.
    out_of_sync: BTreeSet<Log>,
    syncing: Syncing,
    /// Set when it is time to request a sync.
    due: bool,
    acks: Acks,
    /// The logs with an unsaved acknowledged cursor.
    unsaved: BTreeSet<Log>,
    /// The logs that are not followed any more, with cursors that are still in the store.
    left: BTreeSet<Log>,
    repeated: u64,
    /// Set once all entries have come that existed when this connection began.
    up_to_date: bool,
}

impl Logs {
    pub(super) fn new(saved: &[SavedCursor], check_every: Duration) -> Self {
        let known = saved.iter().filter_map(|cursor| {
            let mark = Mark { seq: cursor.seq, id: cursor.id };
            Some((Log::parse(&cursor.channel).ok()?, LogFollower::at(mark)))
        });
        Self {
            followers: known.collect(),
            out_of_sync: BTreeSet::new(),
            syncing: Syncing::new(check_every),
            due: false,
            acks: Acks::default(),
            unsaved: BTreeSet::new(),
            left: BTreeSet::new(),
            repeated: 0,
            up_to_date: false,
        }
    }

    /// Returns the number of entries that were known already.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Returns `true` if the position in a log is known.
    pub(super) fn follows(&self, log: &Log) -> bool {
        self.followers.get(log).is_some_and(|follower| follower.position().is_some())
    }

    /// Returns the position in a log.
    #[cfg(test)]
    pub(super) fn position(&self, log: &Log) -> u64 {
        self.followers.get(log).map_or(0, |follower| follower.mark().seq)
    }

    pub(super) fn handle_connected(&mut self, now: Instant, rng: &mut StdRng) {
        self.syncing.handle_connected(now, rng);
        self.acks.handle_connected(now);
        // The logs that did not fit into `Hello`.
        for (log, follower) in self.followers.iter_mut().filter(|(_, follower)| follower.told.is_none()) {
            follower.need_sync(now);
            self.out_of_sync.insert(log.clone());
        }
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.followers.retain(|_, follower| follower.position().is_some());
        self.followers.values_mut().for_each(LogFollower::handle_connection_lost);
        self.out_of_sync.clear();
        self.due = false;
        self.up_to_date = false;
        self.syncing.handle_connection_lost();
        self.acks.handle_connection_lost();
    }

    pub(super) fn handle_reading(&mut self, now: Instant, reading: bool) {
        self.syncing.handle_reading(now, reading);
    }

    pub(super) fn handle_entry(&mut self, now: Instant, log: &Log, entry: Entry) -> Vec<Change> {
        let room = self.has_room();
        let Some(follower) = self.follow(log) else { return Vec::new() };
        let mut taken = Vec::new();
        let known = follower.handle_entry(now, entry, room, &mut taken);
        let of_use = known && follower.is_comparing();
        self.repeated += u64::from(known);
        if of_use {
            self.syncing.handle_progress(now);
        }
        self.note(log);
        self.tell(now, log, taken)
    }

    pub(super) fn handle_reset(
        &mut self,
        now: Instant,
        log: &Log,
        mark: Mark,
        reason: ResetReason,
    ) -> Vec<Change> {
        self.syncing.handle_activity(now);
        if reason == ResetReason::Left {
            return self.leave(now, log, mark);
        }
        let Some(follower) = self.follow(log) else { return Vec::new() };
        let unasked = follower.told.is_none() && follower.position().is_some();
        if reason == ResetReason::New && unasked {
            // The server was not told the cursor and takes the log for a new one. The next sync tells it.
            if follower.mark().seq != mark.seq || follower.mark().differs(mark) {
                follower.need_sync(now);
            }
            self.note(log);
            return Vec::new();
        }
        let begins = reason == ResetReason::New && follower.position().is_none();
        let mut taken = Vec::new();
        let news = follower.handle_reset(now, mark, reason);
        follower.take_held(now, &mut taken);
        self.note(log);
        if begins {
            // A user who is added to many channels, one after the other, needs a sync for each.
            self.syncing.handle_progress(now);
        }
        let mut changes: Vec<Change> =
            news.then(|| Change::Reset(log.clone(), mark, reason)).into_iter().collect();
        changes.extend(self.tell(now, log, taken));
        changes
    }

    /// Stops following a channel. If entries of it come later, following begins anew.
    fn leave(&mut self, now: Instant, log: &Log, mark: Mark) -> Vec<Change> {
        // The inbox cannot be left.
        if *log == Log::Inbox {
            return Vec::new();
        }
        let known = self.followers.remove(log).is_some_and(|follower| follower.position().is_some());
        self.out_of_sync.remove(log);
        // A log of which no entry could be taken was never followed.
        if !known {
            return Vec::new();
        }
        self.unsaved.remove(log);
        self.left.insert(log.clone());
        self.syncing.handle_progress(now);
        vec![Change::Reset(log.clone(), mark, ResetReason::Left)]
    }

    /// Handles the end of a sync, or with `more` of a page of it. Returns `true` if nothing is missing any more, for the first
    /// time on this connection.
    pub(super) fn handle_sync_done(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        ends: Vec<(Log, Mark)>,
        more: bool,
    ) -> bool {
        if more {
            // Further pages follow.
            self.syncing.handle_activity(now);
        } else {
            self.syncing.handle_done(now, rng);
        }
        for (log, end) in ends {
            // An empty log has nothing to miss.
            if (end.seq > 0 || self.followers.contains_key(&log))
                && let Some(follower) = self.follow(&log)
            {
                follower.handle_end(now, end);
                self.note(&log);
            }
        }
        let complete = !more && self.out_of_sync.is_empty();
        complete && !std::mem::replace(&mut self.up_to_date, complete)
    }

    pub(super) fn handle_hint(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        within: Duration,
        rolled_back: bool,
    ) {
        if rolled_back {
            self.followers.values_mut().for_each(LogFollower::go_back);
        }
        self.syncing.handle_hint(now, rng, within);
    }

    /// Handles an acknowledgement of the application.
    pub(super) fn handle_ack(&mut self, now: Instant, position: Position) {
        let mark = Mark { seq: position.seq, id: position.id.map_or(0, |id| id.as_u64()) };
        let Some(follower) = self.followers.get_mut(&position.log) else { return };
        if follower.handle_ack(mark) {
            self.unsaved.insert(position.log.clone());
            self.acks.handle_ack(now, position.log);
        }
    }

    /// Sends acknowledgements at once.
    pub(super) fn flush_acks(&mut self) {
        self.acks.flush();
    }

    /// Returns `true` if acknowledgements wait and there is a connection.
    pub(super) fn has_unsent_acks(&self) -> bool {
        self.acks.is_pending()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut StdRng) {
        self.syncing.handle_timeout(now, rng);
        self.due |= self.sync_at().is_some_and(|at| at <= now);
        self.acks.handle_timeout(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let sync = if self.due { None } else { self.sync_at() };
        [sync, self.syncing.lost_at(), self.acks.poll_timeout()].into_iter().flatten().min()
    }

    /// Returns the cursors that acknowledgements have moved. They count as saved.
    pub(super) fn poll_save(&mut self) -> Vec<SavedCursor> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let acked = |log: &Log| self.followers.get(log).and_then(LogFollower::acked);
        unsaved
            .into_iter()
            .filter_map(|log| {
                let Mark { seq, id } = acked(&log)?;
                Some(SavedCursor { channel: log.as_str().to_owned(), seq, id })
            })
            .collect()
    }

    /// Returns the channels whose cursors are to be forgotten. They count as saved. Call this before [`Logs::poll_save`].
    pub(super) fn poll_left(&mut self) -> Vec<String> {
        // A cursor that is saved now replaces the old one.
        let left = std::mem::take(&mut self.left);
        left.difference(&self.unsaved).map(|log| log.as_str().to_owned()).collect()
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty() || !self.left.is_empty()
    }

    /// Notes that cursors were not saved.
    pub(super) fn handle_not_saved(&mut self, cursors: &[SavedCursor], left: &[String]) {
        self.left.extend(left.iter().filter_map(|name| Log::parse(name).ok()));
        self.unsaved.extend(cursors.iter().filter_map(|cursor| Log::parse(&cursor.channel).ok()));
    }

    fn sync_at(&self) -> Option<Instant> {
        self.syncing.due_at(self.wanted_at())
    }

    /// Returns the time at which a log wants a sync.
    fn wanted_at(&self) -> Option<Instant> {
        self.out_of_sync.iter().filter_map(|log| self.followers.get(log)?.wants_sync_at()).min()
    }

    fn tell(&mut self, now: Instant, log: &Log, taken: Vec<Entry>) -> Vec<Change> {
        if !taken.is_empty() {
            self.syncing.handle_progress(now);
        }
        taken.into_iter().map(|entry| Change::Entry(log.clone(), entry)).collect()
    }

    /// Returns the follower of a log, known or new, or `None` if there are too many.
    fn follow(&mut self, log: &Log) -> Option<&mut LogFollower> {
        if !self.followers.contains_key(log) {
            if self.followers.len() >= MAX_LOGS {
                tracing::warn!(%log, max = MAX_LOGS, "too many logs: not following this one");
                return None;
            }
            self.followers.insert(log.clone(), LogFollower::default());
        }
        self.followers.get_mut(log)
    }

    fn note(&mut self, log: &Log) {
        if self.followers.get(log).is_some_and(LogFollower::is_out_of_sync) {
            self.out_of_sync.insert(log.clone());
        } else {
            self.out_of_sync.remove(log);
        }
    }

    /// Returns `true` if another entry may be held.
    fn has_room(&self) -> bool {
        let held = |log| self.followers.get(log).map_or(0, LogFollower::held);
        self.out_of_sync.iter().map(held).sum::<usize>() < MAX_HELD_IN_ALL
    }
}

/// The most followed logs, at some hundred bytes each. A user in more groups follows those that came first.
const MAX_LOGS: usize = 4096;

/// The most held entries of all logs, which bounds the memory for gaps in many logs at once.
const MAX_HELD_IN_ALL: usize = 1024;
