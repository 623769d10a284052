//! The size of an archiver's writes: as much as the database takes in a short time.
//!
//! The cost of a write depends on the texts. A thousand short ones are quick, while the index of
//! one long text without repetition takes as long as hundreds of them. So the size, in bytes, is
//! found by trying.

use std::{collections::VecDeque, time::Duration};

use super::Record;
use crate::{backend::message_store::StoredEntry, cluster::DeliveryToken};

/// The most entries in one write. A record may have thousands.
const MOST_ENTRIES: usize = 1024;

/// The most bytes in one write, and those of the first.
const MOST_BYTES: usize = 1024 * 1024;
const FIRST_BYTES: usize = 256 * 1024;

/// Writes that take less time may grow, and those that take more than the second time shrink. Both
/// are far below the time limits of stores, such as the 10 s of
/// [`SqlMessageStore`](crate::backend::message_store::SqlMessageStore).
const QUICK: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_secs(2);

/// The number of writes that do not grow after one that was too large. Growing at once would cost a
/// failure for each write.
const HELD_WRITES: u32 = 32;

/// The size of the next write.
#[derive(Debug)]
pub(super) struct WriteSize {
    entries: usize,
    bytes: usize,
    /// The number of further writes that do not grow.
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

    /// Returns how many of these entries fit, at least one.
    pub(super) fn fitting(&self, entries: &[StoredEntry]) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&StoredEntry| {
            bytes += entry.message.len();
            bytes <= self.bytes
        };
        entries.iter().take(self.entries).take_while(fits).count().max(1).min(entries.len())
    }

    /// Notes that the database has taken these entries, and the time that it needed.
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

    /// Notes that the database has not taken these entries.
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
