//! How much an archiver writes at once: as much as the database takes within a moment.
//!
//! What a write costs depends on the texts: a thousand short ones are quick, and the index of one long text that repeats nothing
//! takes as long as hundreds of them. So the size is found by trying, in bytes.

use std::{collections::VecDeque, time::Duration};

use super::Record;
use crate::{backend::message_store::StoredEntry, cluster::DeliveryToken};

/// How many entries go to the database at once. A record can have thousands.
const MOST_ENTRIES: usize = 1024;

/// How many bytes at most, and at first.
const MOST_BYTES: usize = 1024 * 1024;
const FIRST_BYTES: usize = 256 * 1024;

/// A write that takes less may be larger, and one that takes longer than the second should be smaller: far from the times after which
/// stores give up, as those of [`SqlMessageStore`](crate::backend::message_store::SqlMessageStore) do after 10 s.
const QUICK: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_secs(2);

/// How many writes stay as small as one that was too large has made them. Trying again each time would cost a failure for each write.
const HELD_WRITES: u32 = 32;

/// See the module's description.
#[derive(Debug)]
pub(super) struct WriteSize {
    entries: usize,
    bytes: usize,
    /// How many more writes do not grow.
    held: u32,
}

impl Default for WriteSize {
    fn default() -> Self {
        Self { entries: MOST_ENTRIES, bytes: FIRST_BYTES, held: 0 }
    }
}

impl WriteSize {
    /// Takes whole records that fit, at least one.
    pub(super) fn take(&self, records: &mut VecDeque<Record>) -> (Vec<StoredEntry>, Vec<DeliveryToken>) {
        let (mut entries, mut tokens, mut bytes) = (Vec::new(), Vec::new(), 0);
        let fits = |(more, _): &mut Record, entries: usize, bytes: usize| {
            entries == 0 || entries + more.len() <= self.entries && bytes + size(more) <= self.bytes
        };
        while let Some((mut more, token)) = records.pop_front_if(|record| fits(record, entries.len(), bytes))
        {
            bytes += size(&more);
            entries.append(&mut more);
            tokens.push(token);
        }
        (entries, tokens)
    }

    /// How many of these fit, at least one of them.
    pub(super) fn fitting(&self, entries: &[StoredEntry]) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&StoredEntry| {
            bytes += entry.message.len();
            bytes <= self.bytes
        };
        entries.iter().take(self.entries).take_while(fits).count().max(1).min(entries.len())
    }

    /// The database has taken these within a time.
    pub(super) fn took(&mut self, entries: &[StoredEntry], time: Duration) {
        if time > SLOW {
            self.halve(entries);
        } else if self.held > 0 {
            self.held -= 1;
        } else if time < QUICK {
            self.entries = (self.entries * 2).min(MOST_ENTRIES);
            self.bytes = (self.bytes * 2).min(MOST_BYTES);
        }
    }

    /// The database has not taken these.
    pub(super) fn failed(&mut self, entries: &[StoredEntry]) {
        self.halve(entries);
    }

    fn halve(&mut self, entries: &[StoredEntry]) {
        self.entries = (entries.len() / 2).max(1);
        self.bytes = (size(entries) / 2).max(1);
        self.held = HELD_WRITES;
    }
}

fn size(entries: &[StoredEntry]) -> usize {
    entries.iter().map(|entry| entry.message.len()).sum()
}
