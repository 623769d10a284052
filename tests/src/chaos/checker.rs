//! What every publisher was told and what every device saw, held against each other. No I/O: whoever runs the load feeds
//! it, in any order between sources and in the true order within each.
//!
//! ```text
//!  publishers: sent, told ---+                 +--> nothing lost: told Ok => in the log => at every device of the log
//!  logs at the end: stored --+--> finish() ----+--> nothing doubled: one id and one stamp once per log
//!  devices: seen ------------+                 +--> nothing shuffled: seqs and each conversation's numbers rise
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry as MapEntry},
    fmt,
};

use im_sdk::{client::ResetReason, cluster::LogId, id::MessageId};

use super::Stamp;

/// What a publisher was told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is sent.
    Ok {
        /// Its id, if that was told too.
        id: Option<MessageId>,
        /// Where it is, as far as that was told.
        places: Vec<(LogId, u64)>,
    },
    /// It failed: it may be in some of its logs, or none.
    Failed,
}

/// What the application on a device saw of one log, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An entry.
    Entry {
        /// Its place.
        seq: u64,
        /// Its id.
        id: MessageId,
        /// What it is. `None`: nothing of the load.
        stamp: Option<Stamp>,
    },
    /// The log goes on elsewhere.
    Reset {
        /// Where.
        seq: u64,
        /// Why.
        reason: ResetReason,
    },
    /// A new client began on the device's store, which holds this cursor. What lies beyond it comes again.
    Reopened {
        /// The cursor.
        seq: u64,
    },
}

/// What a scenario may do to logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Logs may be rolled back: what was told Ok may not be in its log, and devices may be reset.
    pub lost_tail: bool,
    /// Logs may be rolled back as far as nothing that was told Ok is lost: devices may be reset.
    pub resets: bool,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Told Ok, and not in a log.
    NotLogged(LogId, Stamp),
    /// In a log, and not at a device that follows it.
    Lost(String, LogId, u64),
    /// One message twice in a log: the same stamp under two ids, or one id at two places.
    Doubled(LogId, Stamp),
    /// A device saw an entry again that it had, without a reset or a new client in between.
    Repeated(String, LogId, u64),
    /// A device saw an entry that was not the next.
    Gap(String, LogId, u64),
    /// A seq with two ids: at one device without a reset in between, or in a receipt.
    TwoIds(String, LogId, u64),
    /// A conversation's later message came before an earlier one.
    OutOfOrder(String, LogId, Stamp),
    /// Nobody sent it, or nobody sent it there.
    Invented(LogId, Option<Stamp>),
    /// A log was reset, and nothing had happened to it.
    NeedlessReset(String, LogId, u64),
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many messages were told Ok.
    pub acknowledged: u64,
    /// How many were told to have failed.
    pub failed: u64,
    /// How many were never told: whoever waited was killed.
    pub untold: u64,
    /// Entries seen, repetitions included.
    pub received: u64,
    /// Resets, beside a log's first.
    pub resets: u64,
    /// Entries seen again by a new client on a store.
    pub seen_again: u64,
    /// Told Ok and lost with a log's tail, where that is [allowed](Allowed::lost_tail).
    pub rolled_back: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// A message on its way.
#[derive(Debug)]
struct Sent {
    logs: Vec<LogId>,
    told: Option<Told>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Checker {
    allowed: Allowed,
    sent: HashMap<Stamp, Sent>,
    stored: HashMap<LogId, BTreeMap<u64, (MessageId, Option<Stamp>)>>,
    seen: BTreeMap<String, HashMap<LogId, Vec<Seen>>>,
}

impl Checker {
    /// A checker for a scenario.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// A message is about to be sent, and belongs into these logs.
    pub fn sent(&mut self, stamp: Stamp, logs: Vec<LogId>) {
        self.sent.insert(stamp, Sent { logs, told: None });
    }

    /// What its publisher was told in the end.
    ///
    /// # Panics
    /// When it was not sent.
    pub fn told(&mut self, stamp: &Stamp, told: Told) {
        self.sent.get_mut(stamp).unwrap_or_else(|| panic!("{stamp} was told and not sent")).told = Some(told);
    }

    /// What a device saw of a log.
    pub fn seen(&mut self, device: &str, log: &LogId, seen: Seen) {
        self.seen.entry(device.to_owned()).or_default().entry(log.clone()).or_default().push(seen);
    }

    /// A device follows a log, even if it sees nothing of it.
    pub fn follows(&mut self, device: &str, log: &LogId) {
        self.seen.entry(device.to_owned()).or_default().entry(log.clone()).or_default();
    }

    /// What a log holds at the end.
    pub fn stored(&mut self, log: &LogId, seq: u64, id: MessageId, stamp: Option<Stamp>) {
        self.stored.entry(log.clone()).or_default().insert(seq, (id, stamp));
    }

    /// The verdict.
    pub fn finish(self) -> Verdict {
        let mut verdict = Verdict::default();
        for sent in self.sent.values() {
            match sent.told {
                Some(Told::Ok { .. }) => verdict.acknowledged += 1,
                Some(Told::Failed) => verdict.failed += 1,
                None => verdict.untold += 1,
            }
        }
        self.check_logs(&mut verdict);
        self.check_acknowledged(&mut verdict);
        for (device, logs) in &self.seen {
            for (log, seen) in logs {
                self.check_device(device, log, seen, &mut verdict);
            }
        }
        verdict
    }

    /// Every log by itself: what is in it was sent there, once and in order.
    fn check_logs(&self, verdict: &mut Verdict) {
        for (log, entries) in &self.stored {
            let mut once = Once::default();
            for (id, stamp) in entries.values() {
                let was_sent =
                    |stamp: &Stamp| self.sent.get(stamp).is_some_and(|sent| sent.logs.contains(log));
                match stamp {
                    Some(stamp) if was_sent(stamp) => {
                        verdict.violations.extend(once.take("the log", log, *id, stamp));
                    }
                    _ => verdict.violations.push(Violation::Invented(log.clone(), stamp.clone())),
                }
            }
        }
    }

    /// What was told Ok is where it was told to be.
    fn check_acknowledged(&self, verdict: &mut Verdict) {
        let mut in_logs: HashSet<(&LogId, &Stamp)> = HashSet::new();
        for (log, entries) in &self.stored {
            in_logs.extend(entries.values().filter_map(|(_, stamp)| Some((log, stamp.as_ref()?))));
        }
        for (stamp, sent) in &self.sent {
            let Some(Told::Ok { id, places }) = &sent.told else { continue };
            let missing: Vec<_> = sent.logs.iter().filter(|log| !in_logs.contains(&(*log, stamp))).collect();
            if self.allowed.lost_tail && !missing.is_empty() {
                verdict.rolled_back += 1;
                continue;
            }
            let missing = missing.into_iter().map(|log| Violation::NotLogged(log.clone(), stamp.clone()));
            verdict.violations.extend(missing);
            for (log, seq) in places {
                let there = self.stored.get(log).and_then(|entries| entries.get(seq));
                let is_it = there.is_some_and(|(stored, what)| {
                    what.as_ref() == Some(stamp) && id.is_none_or(|id| id == *stored)
                });
                // It has moved if the log was rolled back and the publisher sent it again.
                if !is_it && !self.allowed.lost_tail && !self.allowed.resets {
                    verdict.violations.push(Violation::TwoIds("a receipt".into(), log.clone(), *seq));
                }
            }
        }
    }

    fn check_device(&self, device: &str, log: &LogId, seen: &[Seen], verdict: &mut Verdict) {
        let mut view = View { device, log, ..View::default_for(device, log) };
        for seen in seen {
            view.handle(seen, self.allowed, verdict);
        }
        view.check_against(self.stored.get(log), verdict);
    }
}

/// Ids and stamps of one log, each once, and each conversation's numbers rising.
#[derive(Debug, Default)]
struct Once {
    ids: HashSet<MessageId>,
    stamps: HashSet<Stamp>,
    last: HashMap<(String, String), u64>,
}

impl Once {
    fn take(&mut self, whose: &str, log: &LogId, id: MessageId, stamp: &Stamp) -> Option<Violation> {
        let new_id = self.ids.insert(id);
        if !self.stamps.insert(stamp.clone()) || !new_id {
            return Some(Violation::Doubled(log.clone(), stamp.clone()));
        }
        match self.last.entry((stamp.publisher.clone(), stamp.conversation.clone())) {
            MapEntry::Occupied(last) if *last.get() >= stamp.number => {
                Some(Violation::OutOfOrder(whose.to_owned(), log.clone(), stamp.clone()))
            }
            entry => {
                entry.insert_entry(stamp.number);
                None
            }
        }
    }
}

/// What a device has of a log, as its application would: entries by place, thrown away at a reset.
#[derive(Debug)]
struct View<'a> {
    device: &'a str,
    log: &'a LogId,
    entries: BTreeMap<u64, (MessageId, Option<Stamp>)>,
    /// The place of the last entry, or where a reset led.
    position: Option<u64>,
    /// What is not above it was covered by a reset.
    covered: u64,
    /// What is not above it may come again: a new client began below.
    again_until: u64,
}

impl<'a> View<'a> {
    fn default_for(device: &'a str, log: &'a LogId) -> Self {
        Self { device, log, entries: BTreeMap::new(), position: None, covered: 0, again_until: 0 }
    }

    fn handle(&mut self, seen: &Seen, allowed: Allowed, verdict: &mut Verdict) {
        match seen {
            Seen::Entry { seq, id, stamp } => self.entry(*seq, *id, stamp.as_ref(), verdict),
            Seen::Reset { seq, reason } => self.reset(*seq, *reason, allowed, verdict),
            Seen::Reopened { seq } => {
                self.again_until = self.again_until.max(self.position.unwrap_or_default());
                if *seq > self.position.unwrap_or_default() {
                    // It would go on behind what the application has.
                    verdict.violations.push(Violation::Gap(self.device.into(), self.log.clone(), *seq));
                }
                self.position = Some(*seq);
            }
        }
    }

    fn entry(&mut self, seq: u64, id: MessageId, stamp: Option<&Stamp>, verdict: &mut Verdict) {
        verdict.received += 1;
        let place = || (self.device.to_owned(), self.log.clone(), seq);
        let position = self.position.unwrap_or_default();
        let violation = |kind: fn(String, LogId, u64) -> Violation| {
            let (device, log, seq) = place();
            kind(device, log, seq)
        };
        if seq <= position {
            verdict.violations.push(violation(Violation::Repeated));
        } else if seq > position + 1 {
            verdict.violations.push(violation(Violation::Gap));
        }
        if let Some((known, _)) = self.entries.get(&seq) {
            if *known != id {
                verdict.violations.push(violation(Violation::TwoIds));
            } else if seq <= self.again_until {
                verdict.seen_again += 1;
            }
        }
        self.entries.insert(seq, (id, stamp.cloned()));
        self.position = Some(seq.max(position));
    }

    fn reset(&mut self, seq: u64, reason: ResetReason, allowed: Allowed, verdict: &mut Verdict) {
        let is_first = self.position.is_none() && reason == ResetReason::New;
        if !is_first {
            verdict.resets += 1;
            if !allowed.resets && !allowed.lost_tail {
                let violation = Violation::NeedlessReset(self.device.into(), self.log.clone(), seq);
                verdict.violations.push(violation);
            }
        }
        // What comes is told anew; what lies before it would come from the history.
        self.entries.clear();
        self.covered = seq;
        self.again_until = 0;
        self.position = Some(seq);
    }

    /// What the log holds is what the device has, from where it was reset to last.
    fn check_against(
        &self,
        stored: Option<&BTreeMap<u64, (MessageId, Option<Stamp>)>>,
        verdict: &mut Verdict,
    ) {
        let empty = BTreeMap::new();
        let stored = stored.unwrap_or(&empty);
        for (seq, (id, _)) in stored.range(self.covered + 1..) {
            match self.entries.get(seq) {
                None => verdict.violations.push(Violation::Lost(self.device.into(), self.log.clone(), *seq)),
                Some((known, _)) if known != id => {
                    verdict.violations.push(Violation::TwoIds(self.device.into(), self.log.clone(), *seq));
                }
                Some(_) => {}
            }
        }
        let mut once = Once::default();
        for (seq, (id, stamp)) in &self.entries {
            if !stored.contains_key(seq) {
                verdict.violations.push(Violation::Invented(self.log.clone(), stamp.clone()));
            }
            if let Some(stamp) = stamp {
                verdict.violations.extend(once.take(self.device, self.log, *id, stamp));
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLogged(log, stamp) => write!(formatter, "told Ok and not in {log}: {stamp}"),
            Self::Lost(device, log, seq) => write!(formatter, "{device} never saw {seq} of {log}"),
            Self::Doubled(log, stamp) => write!(formatter, "twice in {log}: {stamp}"),
            Self::Repeated(device, log, seq) => write!(formatter, "{device} saw {seq} of {log} again"),
            Self::Gap(device, log, seq) => write!(formatter, "{device} saw {seq} of {log} before its turn"),
            Self::TwoIds(whose, log, seq) => write!(formatter, "{whose} has another id at {seq} of {log}"),
            Self::OutOfOrder(whose, log, stamp) => {
                write!(formatter, "{whose}: out of order in {log}: {stamp}")
            }
            Self::Invented(log, Some(stamp)) => write!(formatter, "in {log}, where it was not sent: {stamp}"),
            Self::Invented(log, None) => write!(formatter, "in {log}, and nobody sent it"),
            Self::NeedlessReset(device, log, seq) => {
                write!(formatter, "{device} was reset to {seq} of {log} for no reason")
            }
        }
    }
}

#[cfg(test)]
mod tests;
