//! The logs that this device follows: every entry once and in order, or an explicit reset.
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
mod followed;
mod frames;
mod syncing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

pub(super) use self::followed::{Entry, Mark};
use self::{acks::Acks, followed::Followed, syncing::Syncing};
#[cfg(test)]
pub(super) use self::{
    acks::INTERVAL as ACK_INTERVAL,
    followed::{HOLD, MAX_HELD},
};
use crate::client::{Log, Position, ResetReason, store::SavedCursor};

/// What the application is told, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Entry(Log, Entry),
    Reset(Log, Mark, ResetReason),
}

/// Every log that this device follows.
#[derive(Debug)]
pub(super) struct Logs {
    followed: BTreeMap<Log, Followed>,
    /// Those that want a sync, now or soon, or hold entries.
    troubled: BTreeSet<Log>,
    syncing: Syncing,
    /// It is time to ask for a sync.
    due: bool,
    acks: Acks,
    /// Those whose acknowledged cursor is not saved.
    unsaved: BTreeSet<Log>,
    /// Those that are not followed any more, whose cursors are still in the store.
    left: BTreeSet<Log>,
    repeated: u64,
    /// On this connection everything has come that was there at its beginning.
    up_to_date: bool,
}

impl Logs {
    pub(super) fn new(saved: &[SavedCursor], check_every: Duration) -> Self {
        let known = saved.iter().filter_map(|cursor| {
            let mark = Mark { seq: cursor.seq, id: cursor.id };
            Some((Log::parse(&cursor.channel).ok()?, Followed::at(mark)))
        });
        Self {
            followed: known.collect(),
            troubled: BTreeSet::new(),
            syncing: Syncing::new(check_every),
            due: false,
            acks: Acks::default(),
            unsaved: BTreeSet::new(),
            left: BTreeSet::new(),
            repeated: 0,
            up_to_date: false,
        }
    }

    /// How many entries came that were known.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Whether the place in a log is known.
    pub(super) fn follows(&self, log: &Log) -> bool {
        self.followed.get(log).is_some_and(|followed| followed.position().is_some())
    }

    /// Where a log stands.
    #[cfg(test)]
    pub(super) fn position(&self, log: &Log) -> u64 {
        self.followed.get(log).map_or(0, |followed| followed.mark().seq)
    }

    pub(super) fn handle_connected(&mut self, now: Instant, rng: &mut StdRng) {
        self.syncing.handle_connected(now, rng);
        self.acks.handle_connected(now);
        // Those that `Hello` had no room for.
        for (log, followed) in self.followed.iter_mut().filter(|(_, followed)| followed.told.is_none()) {
            followed.need_sync(now);
            self.troubled.insert(log.clone());
        }
    }

    pub(super) fn handle_connection_lost(&mut self) {
        self.followed.retain(|_, followed| followed.position().is_some());
        self.followed.values_mut().for_each(Followed::handle_connection_lost);
        self.troubled.clear();
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
        let Some(followed) = self.follow(log) else { return Vec::new() };
        let mut taken = Vec::new();
        let known = followed.handle_entry(now, entry, room, &mut taken);
        let of_use = known && followed.is_comparing();
        self.repeated += u64::from(known);
        if of_use {
            self.syncing.handle_fruit(now);
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
        self.syncing.handle_sign(now);
        if reason == ResetReason::Left {
            return self.leave(now, log, mark);
        }
        let Some(followed) = self.follow(log) else { return Vec::new() };
        let unasked = followed.told.is_none() && followed.position().is_some();
        if reason == ResetReason::New && unasked {
            // The server thinks that there was no cursor, because it was not told: it will be.
            if followed.mark().seq != mark.seq || followed.mark().differs(mark) {
                followed.need_sync(now);
            }
            self.note(log);
            return Vec::new();
        }
        let begins = reason == ResetReason::New && followed.position().is_none();
        let mut taken = Vec::new();
        let news = followed.handle_reset(now, mark, reason);
        followed.take_held(now, &mut taken);
        self.note(log);
        if begins {
            // One who is added to many channels, one after the other, asks for each of them.
            self.syncing.handle_fruit(now);
        }
        let mut changes: Vec<Change> =
            news.then(|| Change::Reset(log.clone(), mark, reason)).into_iter().collect();
        changes.extend(self.tell(now, log, taken));
        changes
    }

    /// Stops following a channel. What comes of it later begins anew.
    fn leave(&mut self, now: Instant, log: &Log, mark: Mark) -> Vec<Change> {
        // Nobody leaves an inbox.
        if *log == Log::Inbox {
            return Vec::new();
        }
        let known = self.followed.remove(log).is_some_and(|followed| followed.position().is_some());
        self.troubled.remove(log);
        // Where nothing was known but entries that did not fit, there is nothing to leave.
        if !known {
            return Vec::new();
        }
        self.unsaved.remove(log);
        self.left.insert(log.clone());
        self.syncing.handle_fruit(now);
        vec![Change::Reset(log.clone(), mark, ResetReason::Left)]
    }

    /// The server has sent what there was when the sync began. Whether nothing is missing any more, for the first time
    /// on this connection.
    pub(super) fn handle_sync_done(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        ends: Vec<(Log, Mark)>,
        more: bool,
    ) -> bool {
        if more {
            // The others follow: only then is it over.
            self.syncing.handle_sign(now);
        } else {
            self.syncing.handle_done(now, rng);
        }
        for (log, end) in ends {
            // An empty log has nothing to miss.
            if (end.seq > 0 || self.followed.contains_key(&log))
                && let Some(followed) = self.follow(&log)
            {
                followed.handle_end(now, end);
                self.note(&log);
            }
        }
        let complete = !more && self.troubled.is_empty();
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
            self.followed.values_mut().for_each(Followed::go_back);
        }
        self.syncing.handle_hint(now, rng, within);
    }

    /// The application has dealt with everything up to a position.
    pub(super) fn handle_ack(&mut self, now: Instant, position: Position) {
        let mark = Mark { seq: position.seq, id: position.id.map_or(0, |id| id.as_u64()) };
        let Some(followed) = self.followed.get_mut(&position.log) else { return };
        if followed.handle_ack(mark) {
            self.unsaved.insert(position.log.clone());
            self.acks.handle_ack(now, position.log);
        }
    }

    /// What was acknowledged goes out at once.
    pub(super) fn flush_acks(&mut self) {
        self.acks.flush();
    }

    /// Acknowledgements wait that could be sent.
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

    /// The cursors that the application's acknowledgements have moved. They count as saved.
    pub(super) fn poll_save(&mut self) -> Vec<SavedCursor> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let acked = |log: &Log| self.followed.get(log).and_then(Followed::acked);
        unsaved
            .into_iter()
            .filter_map(|log| {
                let Mark { seq, id } = acked(&log)?;
                Some(SavedCursor { channel: log.as_str().to_owned(), seq, id })
            })
            .collect()
    }

    /// The channels whose cursors are to be forgotten. They count as saved. To be asked for before the cursors.
    pub(super) fn poll_left(&mut self) -> Vec<String> {
        // A cursor that is saved now replaces the old one.
        let left = std::mem::take(&mut self.left);
        left.difference(&self.unsaved).map(|log| log.as_str().to_owned()).collect()
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty() || !self.left.is_empty()
    }

    /// They were not saved after all.
    pub(super) fn handle_not_saved(&mut self, cursors: &[SavedCursor], left: &[String]) {
        self.left.extend(left.iter().filter_map(|name| Log::parse(name).ok()));
        self.unsaved.extend(cursors.iter().filter_map(|cursor| Log::parse(&cursor.channel).ok()));
    }

    fn sync_at(&self) -> Option<Instant> {
        self.syncing.due_at(self.wanted_at())
    }

    /// When a log wants a sync.
    fn wanted_at(&self) -> Option<Instant> {
        self.troubled.iter().filter_map(|log| self.followed.get(log)?.wants_sync_at()).min()
    }

    fn tell(&mut self, now: Instant, log: &Log, taken: Vec<Entry>) -> Vec<Change> {
        if !taken.is_empty() {
            self.syncing.handle_fruit(now);
        }
        taken.into_iter().map(|entry| Change::Entry(log.clone(), entry)).collect()
    }

    /// The log, known or new; `None` when there are too many.
    fn follow(&mut self, log: &Log) -> Option<&mut Followed> {
        if !self.followed.contains_key(log) {
            if self.followed.len() >= MAX_LOGS {
                tracing::warn!(%log, "too many logs to follow: passed over");
                return None;
            }
            self.followed.insert(log.clone(), Followed::default());
        }
        self.followed.get_mut(log)
    }

    fn note(&mut self, log: &Log) {
        if self.followed.get(log).is_some_and(Followed::is_troubled) {
            self.troubled.insert(log.clone());
        } else {
            self.troubled.remove(log);
        }
    }

    /// Whether another entry may be held.
    fn has_room(&self) -> bool {
        let held = |log| self.followed.get(log).map_or(0, Followed::held);
        self.troubled.iter().map(held).sum::<usize>() < MAX_HELD_IN_ALL
    }
}

/// A user in more groups than this follows those that came first. What a log takes here is some hundred bytes.
const MAX_LOGS: usize = 4096;

/// How many entries are held in all: a bound to what gaps in many logs at once can take.
const MAX_HELD_IN_ALL: usize = 1024;
