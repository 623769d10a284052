//! Compares what every publisher was told with what every device saw. No I/O: the caller feeds it, in any order between
//! sources and in the true order within each.
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

/// An entry at a position of a log.
type Entries = BTreeMap<u64, (MessageId, Option<Stamp>)>;

/// Result of a message, as reported to its publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The message is sent.
    Ok {
        /// Its id, if reported.
        id: Option<MessageId>,
        /// Its positions, as far as reported.
        places: Vec<(LogId, u64)>,
    },
    /// The message failed: it may be in some of its logs, or none.
    Failed,
}

/// An observation of one log by the application on a device, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An entry.
    Entry {
        /// Its position.
        seq: u64,
        /// Its id.
        id: MessageId,
        /// Its stamp; `None` if it is not part of the load.
        stamp: Option<Stamp>,
    },
    /// The log was reset.
    Reset {
        /// Position after the reset.
        seq: u64,
        /// Reason of the reset.
        reason: ResetReason,
    },
    /// A new client opened the device's store, which holds this cursor. Entries after it arrive again.
    Reopened {
        /// The cursor.
        seq: u64,
    },
}

/// Effects on logs that a scenario allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Logs may be rolled back: accepted messages may be missing from their logs, and devices may be reset.
    pub lost_tail: bool,
    /// Logs may be rolled back without loss of accepted messages: devices may be reset.
    pub resets: bool,
}

/// A message that was sent.
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
    /// Creates a checker for a scenario.
    pub fn new(allowed: Allowed) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// Records that a message is about to be sent to these logs.
    pub fn sent(&mut self, stamp: Stamp, logs: Vec<LogId>) {
        self.sent.insert(stamp, Sent { logs, told: None });
    }

    /// Records the result of a message.
    ///
    /// # Panics
    /// Panics if the message was not sent.
    pub fn told(&mut self, stamp: &Stamp, told: Told) {
        self.sent.get_mut(stamp).unwrap_or_else(|| panic!("{stamp} was told and not sent")).told = Some(told);
    }

    /// Records what a device saw of a log.
    pub fn seen(&mut self, device: &str, log: &LogId, seen: Seen) {
        self.seen.entry(device.to_owned()).or_default().entry(log.clone()).or_default().push(seen);
    }

    /// Records that a device follows a log, even if it sees nothing of it.
    pub fn follows(&mut self, device: &str, log: &LogId) {
        self.seen.entry(device.to_owned()).or_default().entry(log.clone()).or_default();
    }

    /// Records the contents of a log at the end.
    pub fn stored(&mut self, log: &LogId, seq: u64, id: MessageId, stamp: Option<Stamp>) {
        self.stored.entry(log.clone()).or_default().insert(seq, (id, stamp));
    }

    /// Returns the verdict.
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

    /// Checks each log by itself: its entries were sent there, once and in order.
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

    /// Checks that accepted messages are at their reported positions.
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
