//! Entries of logs, pages of them, and the bounds of a log.

use bytes::Bytes;

use super::dedup_key::DedupKey;
use crate::id::{MessageId, UserId};

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The id of the message.
    pub message_id: MessageId,
    /// The payload, opaque to the log.
    pub payload: Bytes,
    /// The key by which a retry is recognised.
    pub dedup_key: Option<DedupKey>,
    /// The user whose device publishes the entry. The entry counts towards this user's share of the
    /// log (see [`LogBounds::inbox_shares`](super::LogBounds::inbox_shares)). `None` means the backend itself, which is never
    /// refused for lack of room.
    pub writer: Option<UserId>,
    /// Whether [`LogStore::check_room`](super::LogStore::check_room) found room a moment ago. The
    /// entry is then allowed an eighth more, so that entries appended meanwhile do not refuse it.
    pub is_checked: bool,
}

impl NewEntry {
    /// Creates an entry without a deduplication key: a retry appends it again.
    pub fn new(message_id: MessageId, payload: Bytes) -> Self {
        Self { message_id, payload, dedup_key: None, writer: None, is_checked: false }
    }

    /// Sets the user whose device publishes the entry.
    #[must_use]
    pub fn by(self, writer: UserId) -> Self {
        Self { writer: Some(writer), ..self }
    }

    /// Sets the key by which a retry is recognised, so that the entry is appended once.
    #[must_use]
    pub fn with_dedup_key(self, key: DedupKey) -> Self {
        Self { dedup_key: Some(key), ..self }
    }
}

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The entry's sequence number in the log.
    pub seq: u64,
    /// The id of the message; if [`Appended::repeated`], the id of the first attempt.
    pub message_id: MessageId,
    /// Whether the entry was stored already, by an earlier attempt.
    pub repeated: bool,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's sequence number in the log.
    pub seq: u64,
    /// The id of the message.
    pub message_id: MessageId,
    /// The payload.
    pub payload: Bytes,
}

/// Entries of a log, with the log's first and last seq when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Adjacent entries: no seq between them is left out.
    pub entries: Vec<Entry>,
    /// See [`LogEnds::first`].
    pub first: u64,
    /// See [`LogEnds::last`].
    pub last: u64,
}

impl Page {
    pub(in crate::cluster) fn new(entries: Vec<Entry>, ends: LogEnds) -> Self {
        Self { entries, first: ends.first, last: ends.last }
    }
}

/// The limit of one read of a log.
///
/// A page ends before its payloads would take more than `bytes`, but has at least one entry if
/// there is one, so that a reader always makes progress. A short page does not mean the end of the
/// log: compare [`Page::first`] and [`Page::last`].
///
/// ```
/// use im_sdk::cluster::ReadLimit;
/// let limit = ReadLimit::new(100).with_bytes(64 * 1024);
/// assert_eq!((limit.entries, limit.bytes), (100, 64 * 1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimit {
    /// The maximum number of entries.
    pub entries: usize,
    /// The maximum number of bytes of all payloads.
    pub bytes: usize,
}

impl ReadLimit {
    /// The default number of bytes: some of the largest messages, or about a thousand average ones.
    pub const USUAL_BYTES: usize = 256 * 1024;

    /// Creates a limit of this many entries, and of [`ReadLimit::USUAL_BYTES`].
    pub const fn new(entries: usize) -> Self {
        Self { entries, bytes: Self::USUAL_BYTES }
    }

    /// Sets the limit of bytes.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Takes entries as long as they fit.
    pub(in crate::cluster) fn take<E>(
        self,
        entries: impl Iterator<Item = Result<Entry, E>>,
    ) -> Result<Vec<Entry>, E> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for entry in entries.take(self.entries) {
            let entry = entry?;
            bytes = bytes.saturating_add(entry.payload.len());
            if bytes > self.bytes && !taken.is_empty() {
                break;
            }
            taken.push(entry);
        }
        Ok(taken)
    }
}

/// The first and last sequence number of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// The seq of the oldest stored entry; `last + 1` if none is stored.
    pub first: u64,
    /// The last seq that was ever used; 0 before the first append.
    pub last: u64,
}

impl LogEnds {
    /// The range of a log before its first append.
    pub(in crate::cluster) const EMPTY: Self = Self { first: 1, last: 0 };
}
