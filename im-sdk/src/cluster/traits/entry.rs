//! Entries of logs, pages of them, and the bounds of a log.

use std::time::Duration;

use bytes::Bytes;

use super::idempotency::DedupKey;
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
    /// log (see [`LogBounds::inbox_shares`]). `None` means the backend itself, which is never
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

/// The bounds of a log. Entries beyond them are trimmed from the oldest on, by and by.
///
/// A log is full at `max_entries` or `max_bytes`. Entries that users' devices published
/// ([`NewEntry::writer`]) are then protected from other users. In an inbox they are protected until
/// a device of its owner has acknowledged them; in a channel, and in an inbox whose owner has
/// acknowledged nothing, for `unread_grace`. Entries of a writer that has used up its share are not
/// protected.
///
/// If only protected entries are in the way, a writer that has used up its share is refused
/// ([`LogError::Full`](super::LogError::Full)). Any other writer makes the log grow, up to twice
/// its bounds.
///
/// ```
/// use im_sdk::cluster::LogBounds;
/// let bounds = LogBounds { max_entries: 1_000, ..LogBounds::default() };
/// assert_eq!(bounds.max_age.as_secs(), 30 * 24 * 60 * 60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// The number of entries that a log keeps, unless they are too old or take more than
    /// `max_bytes`. Default 10,000. A store that trims in blocks may keep some hundred more.
    pub max_entries: u64,
    /// The number of bytes that a log takes, by the store's own measure including overhead. Default
    /// 8 MiB: more than a hundred of the longest messages (64 KiB).
    pub max_bytes: u64,
    /// The maximum age of an entry, by the time in its message id. Default 30 days. Older entries
    /// are never returned. A producer that has appended nothing for that long is forgotten (see
    /// [`DedupKey::Producer`]).
    pub max_age: Duration,
    /// The number of shares of an inbox. A writer has one: with the default of 8, an eighth of
    /// `max_entries` and of `max_bytes`.
    pub inbox_shares: u32,
    /// The number of shares of a channel's log. Default 2: one author may dominate a group.
    pub channel_shares: u32,
    /// How long an entry is protected if nobody can acknowledge it: in a channel, and in an inbox
    /// whose owner has never acknowledged anything, such as a bot's. Default 7 days: in a busy
    /// channel, members who were away for longer are reset anyway.
    pub unread_grace: Duration,
}

impl Default for LogBounds {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            max_entries: 10_000,
            max_bytes: 8 * 1024 * 1024,
            max_age: 30 * DAY,
            inbox_shares: 8,
            channel_shares: 2,
            unread_grace: 7 * DAY,
        }
    }
}
