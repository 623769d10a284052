//! A followed log, whose entries are passed on once and in order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    client::{Log, Position, ResetReason},
    id::MessageId,
    proto::pb,
};

/// A position in a log, as frames have it. An id of 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client::core) struct Mark {
    pub(in crate::client::core) seq: u64,
    pub(in crate::client::core) id: u64,
}

impl Mark {
    pub(in crate::client::core) fn position(self, log: Log) -> Position {
        Position { log, seq: self.seq, id: MessageId::from_u64(self.id) }
    }

    /// Returns `true` if the two are known to be different messages at the same seq.
    pub(super) fn differs(self, other: Self) -> bool {
        self.seq == other.seq && self.id != 0 && other.id != 0 && self.id != other.id
    }

    pub(super) fn cursor(self, log: &Log) -> pb::Cursor {
        pb::Cursor { channel: log.as_str().to_owned(), seq: self.seq, id: self.id }
    }
}

/// An entry of a log, as received.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client::core) struct Entry {
    pub(in crate::client::core) mark: Mark,
    pub(in crate::client::core) message: pb::Message,
}

/// Follows a log.
#[derive(Debug, Default)]
pub(super) struct LogFollower {
    /// The last entry that was taken. `None` if none came that could be taken.
    position: Option<Mark>,
    /// The ids at the position and before it, newest first, to detect a rollback of the log.
    recent: VecDeque<u64>,
    /// Entries beyond the next one.
    held: BTreeMap<u64, Entry>,
    /// The time by which the entries in between should have come.
    gap_until: Option<Instant>,
    /// The time since when only a sync can help.
    needs_since: Option<Instant>,
    /// The seq that this connection's server was told last.
    pub(super) told: Option<u64>,
    /// The highest entry when the last sync began. If the log's end is lower, the log was rolled back.
    seen: u64,
    /// An earlier position to sync from.
    back: Option<Rewind>,
    /// The position from which the last sync asked, until it ends: the server's answer about that position may
    /// be lost.
    unanswered: Option<Mark>,
    /// The last acknowledged position since the last reset, never beyond the present position.
    acked: Option<Mark>,
}

/// An earlier position to sync from.
#[derive(Debug)]
struct Rewind {
    from: Mark,
    /// Set if another message came with the seq of that position.
    contradicted: bool,
    /// The seqs behind it that are still to be compared.
    compare: BTreeSet<u64>,
    /// Set once a sync has asked from there.
    asked: bool,
    /// The number of syncs that may still be requested because of it.
    tries: u8,
}

impl LogFollower {
    pub(super) fn at(mark: Mark) -> Self {
        let mut follower = Self { acked: Some(mark), ..Self::default() };
        follower.set(mark);
        follower
    }

    pub(super) fn position(&self) -> Option<Mark> {
        self.position
    }

    /// Returns the position, or 0 for an unknown log.
    pub(super) fn mark(&self) -> Mark {
        self.position.unwrap_or_default()
    }

    /// Returns the position that the next sync asks from, or 0 for an unknown log.
    pub(super) fn ask_from(&self) -> Mark {
        // Asking from further back would repeat too much, without an end over a slow link.
        let is_near = |begun: &Mark| self.mark().seq.saturating_sub(begun.seq) < MAX_RECENT as u64;
        let back = self.back.as_ref().map(|back| back.from);
        back.or(self.unanswered.filter(is_near)).unwrap_or_else(|| self.mark())
    }

    /// Prepares for a log that was rolled back below the position and has grown beyond it since: the next sync asks from the
    /// first remembered position, and the received entries are compared.
    pub(super) fn go_back(&mut self) {
        if self.back.is_none() {
            self.compare_all(MAX_TRIES);
        }
    }

    /// Returns `true` if entries that are known already are of use, to compare them.
    pub(super) fn is_comparing(&self) -> bool {
        self.back.as_ref().is_some_and(|back| back.asked)
    }

    fn compare_all(&mut self, tries: u8) {
        let oldest = self.mark().seq.saturating_sub(self.recent.len().saturating_sub(1) as u64);
        let compare: BTreeSet<u64> = (oldest..=self.mark().seq).skip(1).collect();
        let from = self.recent(oldest).filter(|_| !compare.is_empty() && tries > 0);
        self.back = from.map(|from| Rewind { from, contradicted: false, compare, asked: false, tries });
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns the time at which this log wants a sync.
    pub(super) fn wants_sync_at(&self) -> Option<Instant> {
        [self.gap_until, self.needs_since].into_iter().flatten().min()
    }

    /// Returns `true` if entries are missing.
    pub(super) fn is_out_of_sync(&self) -> bool {
        self.wants_sync_at().is_some() || !self.held.is_empty()
    }

    pub(super) fn need_sync(&mut self, now: Instant) {
        self.needs_since.get_or_insert(now);
    }

    /// Begins a sync, which covers all entries that are missing now.
    pub(super) fn begin_sync(&mut self) {
        let mark = self.mark();
        self.needs_since = None;
        self.gap_until = None;
        self.told = Some(mark.seq);
        self.unanswered = self.unanswered.or(self.position);
        if let Some(back) = &mut self.back {
            back.asked = true;
        }
        self.seen = self.held.last_key_value().map_or(mark.seq, |(seq, _)| mark.seq.max(*seq));
    }

    /// Adds the entries that can be taken now to `taken`, in order. Returns `true` if the entry was known before.
    pub(super) fn handle_entry(
        &mut self,
        now: Instant,
        entry: Entry,
        room: bool,
        taken: &mut Vec<Entry>,
    ) -> bool {
        let seq = self.mark().seq;
        if entry.mark.seq <= seq {
            self.check_known(now, entry.mark);
            return true;
        }
        if entry.mark.seq > seq + 1 {
            return self.hold(now, entry, room);
        }
        self.take(entry, taken);
        self.take_held(now, taken);
        false
    }

    /// Continues at another position. Returns `false` if nothing changes.
    pub(super) fn handle_reset(&mut self, now: Instant, mark: Mark, reason: ResetReason) -> bool {
        let contradicted = self.back.as_ref().is_some_and(|back| back.contradicted);
        let has_it = self.position.is_some_and(|position| mark.seq <= position.seq);
        // The sync asked from before the beginning of the log, and nothing is missing.
        let needless = has_it && reason == ResetReason::Trimmed && !contradicted;
        if needless && let Some(back) = &mut self.back {
            back.compare.retain(|seq| *seq > mark.seq);
        }
        if needless || self.position == Some(mark) {
            return false;
        }
        self.recent.clear();
        self.back = None;
        self.unanswered = None;
        self.set(mark);
        self.acked = None;
        self.told = self.told.map(|_| mark.seq);
        self.seen = mark.seq;
        let held = self.held.len();
        let forked = reason == ResetReason::Forked;
        self.held.retain(|seq, _| *seq > mark.seq && !forked);
        if forked && held > 0 {
            // Some of the held entries may have been of the new branch.
            self.need_sync(now);
        }
        true
    }

    /// Takes the held entries that are next now.
    pub(super) fn take_held(&mut self, now: Instant, taken: &mut Vec<Entry>) {
        while let Some(entry) = self.held.remove(&self.mark().seq.saturating_add(1)) {
            self.take(entry, taken);
        }
        self.gap_until = (!self.held.is_empty()).then(|| now + HOLD);
    }

    /// Handles the end of the log, as the server saw it when the sync began.
    pub(super) fn handle_end(&mut self, now: Instant, end: Mark) {
        let mark = self.mark();
        self.unanswered = None;
        self.end_going_back(now);
        let rolled_back = self.told.is_some() && end.seq < self.seen;
        if rolled_back {
            // The held entries may be of the lost branch. They are dropped once only: the next sync has less
            // to go by.
            self.held.clear();
            self.gap_until = None;
            // Until the next sync the log may have grown to the position, and beyond.
            if let Some(lost) = self.recent(end.seq + 1) {
                self.contradict(lost);
            }
        }
        if end.seq > mark.seq || rolled_back || end.differs(mark) {
            self.need_sync(now);
        }
    }

    /// Notes that the log has another message at a known seq, or none. The server confirms that when a sync asks from
    /// there.
    fn contradict(&mut self, known: Mark) {
        let is_first = |back: &Rewind| !back.contradicted || known.seq < back.from.seq;
        if self.back.as_ref().is_none_or(is_first) {
            let tries = self.back.as_ref().map_or(MAX_TRIES, |back| back.tries);
            let compare = BTreeSet::new();
            self.back = Some(Rewind { from: known, contradicted: true, compare, asked: false, tries });
        }
    }

    /// Handles the answer to a sync from an earlier position, which may also have been lost.
    fn end_going_back(&mut self, now: Instant) {
        let Some(back) = self.back.take_if(|back| back.asked) else { return };
        let tries = back.tries - 1;
        if back.contradicted {
            // No reset came: it was lost, or the differing entry was an older one that came late. Comparing shows which.
            self.compare_all(tries);
        } else if let Some(first) = back.compare.first()
            && let Some(from) = self.recent(first - 1).filter(|_| tries > 0)
        {
            self.back = Some(Rewind { from, asked: false, tries, ..back });
        }
        if self.back.is_some() {
            self.need_sync(now);
        }
    }

    /// Notes an acknowledgement of the application. Returns `true` if it is new.
    pub(super) fn handle_ack(&mut self, mark: Mark) -> bool {
        let ahead = self.acked.is_none_or(|acked| acked.seq < mark.seq);
        let has_come = self.position.is_some_and(|position| mark.seq <= position.seq);
        let is_other = self.recent(mark.seq).is_some_and(|known| known.differs(mark));
        let news = has_come && ahead && !is_other;
        if news {
            self.acked = Some(mark);
        }
        news
    }

    pub(super) fn acked(&self) -> Option<Mark> {
        self.acked
    }

    /// Handles the loss of the connection. The next one begins with a sync.
    pub(super) fn handle_connection_lost(&mut self) {
        self.held.clear();
        self.unanswered = None;
        self.gap_until = None;
        self.needs_since = None;
        self.told = None;
    }

    fn check_known(&mut self, now: Instant, mark: Mark) {
        match self.recent(mark.seq) {
            Some(known) if known.differs(mark) => {
                self.contradict(known);
                self.need_sync(now);
            }
            Some(_) => {
                if let Some(back) = &mut self.back {
                    back.compare.remove(&mark.seq);
                }
            }
            // The entry is too old to compare, and no server has a reason to send it.
            None => self.need_sync(now),
        }
    }

    /// Returns the position with an earlier seq, if its id is remembered.
    fn recent(&self, seq: u64) -> Option<Mark> {
        let back = usize::try_from(self.mark().seq.checked_sub(seq)?).ok()?;
        Some(Mark { seq, id: *self.recent.get(back)? })
    }

    fn hold(&mut self, now: Instant, entry: Entry, room: bool) -> bool {
        self.gap_until.get_or_insert(now + HOLD);
        if let Some(held) = self.held.get(&entry.mark.seq) {
            if held.mark.differs(entry.mark) {
                self.held.clear();
                self.need_sync(now);
            }
            return true;
        }
        if room {
            self.held.insert(entry.mark.seq, entry);
        }
        if !room || self.held.len() > MAX_HELD {
            // Drops the highest entry, which is needed last. A sync brings it.
            self.held.pop_last();
            self.need_sync(now);
        }
        false
    }

    fn take(&mut self, entry: Entry, taken: &mut Vec<Entry>) {
        self.set(entry.mark);
        taken.push(entry);
    }

    fn set(&mut self, mark: Mark) {
        self.position = Some(mark);
        self.recent.truncate(MAX_RECENT - 1);
        self.recent.push_front(mark.id);
    }
}

/// The time that a gap may last. If two backends publish neighbouring entries in the other order, the missing one is a few
/// milliseconds late.
pub(in crate::client::core) const HOLD: Duration = Duration::from_millis(200);

/// The most held entries of one log. A gap made by two backends is a few entries wide; a sync closes larger ones.
pub(in crate::client::core) const MAX_HELD: usize = 64;

/// The most syncs that are requested because the log may have changed: a server sends pages, and the bus may lose some.
const MAX_TRIES: u8 = 20;

/// The number of remembered ids of a log: in most logs, more than come between a failover and the hint that follows it.
const MAX_RECENT: usize = 256;
