//! How far a log has been looked at for one page, and what of it is on the page.

use super::{MAX_HISTORY_SCAN, MAX_HISTORY_SCAN_BYTES, PAGE, marks::Looked};
use crate::{
    backend::message_store::RawEntry,
    cluster::{Entry, ReadLimit},
};

/// The bytes of the first read where only some entries are wanted; each next one is twice as large. The newest entries are
/// wanted most, and are small most of the time.
const FIRST_BYTES: usize = 64 * 1024;

/// The most bytes of one read.
const MOST_BYTES: usize = ReadLimit::USUAL_BYTES;

/// A walk over a log.
pub(super) struct Scan {
    entries: usize,
    bytes: usize,
    next_bytes: usize,
    /// How many of the last entries in a row are beyond the time that is wanted.
    beyond: usize,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { entries: 0, bytes: 0, next_bytes: FIRST_BYTES, beyond: 0 }
    }

    /// What to read next where only some entries are wanted.
    pub(super) fn next_read(&mut self) -> ReadLimit {
        let bytes = self.next_bytes.min(MAX_HISTORY_SCAN_BYTES.saturating_sub(self.bytes));
        self.next_bytes = self.next_bytes.saturating_mul(2).min(MOST_BYTES);
        ReadLimit::new(PAGE.min(MAX_HISTORY_SCAN.saturating_sub(self.entries)).max(1)).with_bytes(bytes)
    }

    /// Whether nothing was looked at so far.
    pub(super) fn begins(&self) -> bool {
        self.entries == 0
    }

    /// Notes an entry that was looked at, and whether it is beyond the time that is wanted.
    pub(super) fn note(&mut self, entry: &Entry, is_beyond: bool) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.payload.len());
        self.beyond = if is_beyond { self.beyond + 1 } else { 0 };
    }

    /// Whether as much was looked at as may be for one page.
    pub(super) fn is_over(&self) -> bool {
        self.entries >= MAX_HISTORY_SCAN || self.bytes >= MAX_HISTORY_SCAN_BYTES
    }

    /// Whether so many entries in a row are beyond the time that is wanted that what follows is taken to be so too.
    pub(super) fn is_past(&self) -> bool {
        self.beyond >= PAGE || self.is_over() && self.beyond == self.entries
    }
}

/// The entries of a page, in the order in which they were found.
pub(super) struct Found {
    pub(super) entries: Vec<RawEntry>,
    /// Where messages are wanted: the changes that were met on the way.
    pub(super) changes: Vec<RawEntry>,
    /// Where in the log they were found.
    pub(super) looked: Option<Looked>,
    bytes: usize,
    limit: ReadLimit,
}

impl Found {
    pub(super) fn new(limit: ReadLimit) -> Self {
        Self { entries: Vec::new(), changes: Vec::new(), looked: None, bytes: 0, limit }
    }

    /// Whether another entry fits. One always does.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.entries.is_empty() || !self.is_full() && self.bytes.saturating_add(bytes) <= self.limit.bytes
    }

    pub(super) fn push(&mut self, entry: RawEntry) {
        self.bytes = self.bytes.saturating_add(entry.message.len());
        self.entries.push(entry);
    }

    /// Notes a place of the log, whose last one is `last`, that was looked at.
    pub(super) fn look_at(&mut self, seq: u64, last: u64) {
        let looked = self.looked.get_or_insert(Looked { low: seq, high: seq, last });
        (looked.low, looked.high, looked.last) = (looked.low.min(seq), looked.high.max(seq), last);
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit.entries || self.bytes >= self.limit.bytes && !self.entries.is_empty()
    }

    /// What is left of the limit.
    pub(super) fn room(&self) -> ReadLimit {
        let entries = self.limit.entries.saturating_sub(self.entries.len());
        ReadLimit::new(entries).with_bytes(self.limit.bytes.saturating_sub(self.bytes))
    }

    pub(super) fn reversed(mut self) -> Self {
        self.entries.reverse();
        self
    }
}
