//! The progress of a scan of a log, and the entries that it found.

use super::{MAX_HISTORY_SCAN, MAX_HISTORY_SCAN_BYTES, PAGE, marks::Looked};
use crate::{
    backend::message_store::RawEntry,
    cluster::{Entry, ReadLimit},
};

/// The bytes of the first read with a filter; each further one is twice as large. The newest
/// entries are requested most, and are mostly small.
const FIRST_BYTES: usize = 64 * 1024;

/// The most bytes of one read.
const MOST_BYTES: usize = ReadLimit::USUAL_BYTES;

/// The progress of a scan.
pub(super) struct Scan {
    entries: usize,
    bytes: usize,
    next_bytes: usize,
    /// The number of last entries in a row that are beyond the requested time.
    beyond: usize,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { entries: 0, bytes: 0, next_bytes: FIRST_BYTES, beyond: 0 }
    }

    /// Returns the limit of the next read with a filter.
    pub(super) fn next_read(&mut self) -> ReadLimit {
        let bytes = self.next_bytes.min(MAX_HISTORY_SCAN_BYTES.saturating_sub(self.bytes));
        self.next_bytes = self.next_bytes.saturating_mul(2).min(MOST_BYTES);
        ReadLimit::new(PAGE.min(MAX_HISTORY_SCAN.saturating_sub(self.entries)).max(1)).with_bytes(bytes)
    }

    /// Returns `true` before the first entry.
    pub(super) fn begins(&self) -> bool {
        self.entries == 0
    }

    /// Notes a scanned entry, and whether it is beyond the requested time.
    pub(super) fn note(&mut self, entry: &Entry, is_beyond: bool) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.payload.len());
        self.beyond = if is_beyond { self.beyond + 1 } else { 0 };
    }

    /// Returns `true` if the scan has reached its limit.
    pub(super) fn is_over(&self) -> bool {
        self.entries >= MAX_HISTORY_SCAN || self.bytes >= MAX_HISTORY_SCAN_BYTES
    }

    /// Returns `true` if so many entries in a row are beyond the requested time that the following
    /// ones are too.
    pub(super) fn is_past(&self) -> bool {
        self.beyond >= PAGE || self.is_over() && self.beyond == self.entries
    }
}

/// The entries of a page, in the order in which they were found.
pub(super) struct Found {
    pub(super) entries: Vec<RawEntry>,
    /// The changes on the way, if messages are requested.
    pub(super) changes: Vec<RawEntry>,
    /// The scanned part of the log.
    pub(super) looked: Option<Looked>,
    bytes: usize,
    limit: ReadLimit,
}

impl Found {
    pub(super) fn new(limit: ReadLimit) -> Self {
        Self { entries: Vec::new(), changes: Vec::new(), looked: None, bytes: 0, limit }
    }

    /// Returns `true` if another entry fits. A first one always does.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.entries.is_empty() || !self.is_full() && self.bytes.saturating_add(bytes) <= self.limit.bytes
    }

    pub(super) fn push(&mut self, entry: RawEntry) {
        self.bytes = self.bytes.saturating_add(entry.message.len());
        self.entries.push(entry);
    }

    /// Notes a scanned seq of the log, whose last one is `last`.
    pub(super) fn look_at(&mut self, seq: u64, last: u64) {
        let looked = self.looked.get_or_insert(Looked { low: seq, high: seq, last });
        (looked.low, looked.high, looked.last) = (looked.low.min(seq), looked.high.max(seq), last);
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit.entries || self.bytes >= self.limit.bytes && !self.entries.is_empty()
    }

    /// Returns the rest of the limit.
    pub(super) fn room(&self) -> ReadLimit {
        let entries = self.limit.entries.saturating_sub(self.entries.len());
        ReadLimit::new(entries).with_bytes(self.limit.bytes.saturating_sub(self.bytes))
    }

    pub(super) fn reversed(mut self) -> Self {
        self.entries.reverse();
        self
    }
}
