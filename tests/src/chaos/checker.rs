//! What every publisher was told and what every device saw, held against each other. No I/O: whoever runs the load feeds
//! it, in any order between sources and in the true order within each.
//!
//! ```text
//!  publishers: sent, told ---+                 +--> nothing lost: told Ok => in the log => at every device of the log
//!  logs at the end: stored --+--> finish() ----+--> nothing doubled: one id and one stamp once per log
//!  devices: seen ------------+                 +--> nothing shuffled: seqs and each conversation's numbers rise
//! ```

mod verdict;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};

use im_sdk::{client::ResetReason, cluster::LogId, id::MessageId};

pub use self::verdict::{Verdict, Violation};
use self::view::{Once, View};
use super::Stamp;

/// What is at which place.
type Entries = BTreeMap<u64, (MessageId, Option<Stamp>)>;

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
    stored: HashMap<LogId, Entries>,
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
        let mut view = View::new(device, log);
        for seen in seen {
            view.handle(seen, self.allowed, verdict);
        }
        view.check_against(self.stored.get(log), verdict);
    }
}

#[cfg(test)]
mod tests;
