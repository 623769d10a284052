//! One log as an application on a device has it.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry as MapEntry};

use im_sdk::{client::ResetReason, cluster::LogId, id::MessageId};

use super::{Allowed, Entries, Seen, Verdict, Violation};
use crate::chaos::Stamp;

/// Checks that the ids and stamps of one log are unique, and that the numbers of each conversation rise.
#[derive(Debug, Default)]
pub(super) struct Once {
    ids: HashSet<MessageId>,
    stamps: HashSet<Stamp>,
    last: HashMap<(String, String), u64>,
}

impl Once {
    pub(super) fn take(
        &mut self,
        whose: &str,
        log: &LogId,
        id: MessageId,
        stamp: &Stamp,
    ) -> Option<Violation> {
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

/// Entries of a log on a device, by seq, discarded at a reset.
#[derive(Debug)]
pub(super) struct View<'a> {
    device: &'a str,
    log: &'a LogId,
    entries: Entries,
    /// Seq of the last entry or reset.
    position: Option<u64>,
    /// Seq up to which entries were covered by a reset.
    covered: u64,
    /// Seq up to which entries may arrive again, since a new client started below.
    again_until: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(device: &'a str, log: &'a LogId) -> Self {
        Self { device, log, entries: BTreeMap::new(), position: None, covered: 0, again_until: 0 }
    }

    pub(super) fn handle(&mut self, seen: &Seen, allowed: Allowed, verdict: &mut Verdict) {
        match seen {
            Seen::Entry { seq, id, stamp } => self.entry(*seq, *id, stamp.as_ref(), verdict),
            Seen::Reset { seq, reason } => self.reset(*seq, *reason, allowed, verdict),
            Seen::Reopened { seq } => {
                self.again_until = self.again_until.max(self.position.unwrap_or_default());
                if *seq > self.position.unwrap_or_default() {
                    // Accepting it would leave a gap in the application's copy.
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
        // Later entries arrive anew. Earlier ones would come from the history.
        self.entries.clear();
        self.covered = seq;
        self.again_until = 0;
        self.position = Some(seq);
    }

    /// Checks that the device has the contents of the log since its last reset.
    pub(super) fn check_against(&self, stored: Option<&Entries>, verdict: &mut Verdict) {
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
