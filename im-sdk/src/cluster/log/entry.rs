//! What goes into a log and what comes out.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::Once;
use crate::id::{ChannelId, MessageId, UserId};

/// Which log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogId {
    /// What a user's devices receive.
    Inbox(UserId),
    /// What a channel's members receive.
    Channel(ChannelId),
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbox(user) => write!(formatter, "u:{user}"),
            Self::Channel(channel) => write!(formatter, "c:{channel}"),
        }
    }
}

/// An entry on its way into a log.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The message's id.
    pub message_id: MessageId,
    /// What it says. The log never looks into it.
    pub payload: Bytes,
    /// What a retry is known by.
    pub once: Option<Once>,
    /// The user whose device has this appended; it has a share of each log (see [`LogBounds::inbox_shares`]). `None`: the back
    /// end itself appends, which is never refused for want of room.
    pub writer: Option<UserId>,
    /// [`LogStore::check_room`](super::LogStore::check_room) found room for it a moment ago. So that what others appended meanwhile
    /// does not refuse it, it finds an eighth more.
    pub is_checked: bool,
}

impl NewEntry {
    /// An entry that a retry would append again.
    pub fn new(message_id: MessageId, payload: Bytes) -> Self {
        Self { message_id, payload, once: None, writer: None, is_checked: false }
    }

    /// The same entry, appended for a user's device.
    #[must_use]
    pub fn by(self, writer: UserId) -> Self {
        Self { writer: Some(writer), ..self }
    }

    /// The same, to be appended once.
    #[must_use]
    pub fn once(self, once: Once) -> Self {
        Self { once: Some(once), ..self }
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in the log.
    pub seq: u64,
    /// The message's id. With [`Appended::repeated`], the first one.
    pub message_id: MessageId,
    /// The entry was there already, from an earlier attempt.
    pub repeated: bool,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub seq: u64,
    /// The message's id.
    pub message_id: MessageId,
    /// What it says.
    pub payload: Bytes,
}

/// Some entries of a log, and where the log began and ended when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Neighbours: no seq between them is left out.
    pub entries: Vec<Entry>,
    /// See [`Ends::first`].
    pub first: u64,
    /// See [`Ends::last`].
    pub last: u64,
}

impl Page {
    pub(super) fn new(entries: Vec<Entry>, ends: Ends) -> Self {
        Self { entries, first: ends.first, last: ends.last }
    }
}

/// How much one read of a log brings at most.
///
/// A page ends early where its payloads would take more than `bytes`. It has one entry all the same if there is one, so that
/// a reader always gets on. A short page is not the end of the log: [`Page::first`] and [`Page::last`] tell.
///
/// ```
/// use im_sdk::cluster::ReadLimit;
/// let limit = ReadLimit::new(100).with_bytes(64 * 1024);
/// assert_eq!((limit.entries, limit.bytes), (100, 64 * 1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimit {
    /// The most entries.
    pub entries: usize,
    /// The most bytes of payloads together.
    pub bytes: usize,
}

impl ReadLimit {
    /// The bytes of a page unless something else is wanted: some of the largest messages, or about a thousand usual ones.
    pub const USUAL_BYTES: usize = 256 * 1024;

    /// Up to this many entries, of [`ReadLimit::USUAL_BYTES`] at most.
    pub const fn new(entries: usize) -> Self {
        Self { entries, bytes: Self::USUAL_BYTES }
    }

    /// The same with another limit of bytes.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Takes entries as long as they fit.
    pub(super) fn take<E>(self, entries: impl Iterator<Item = Result<Entry, E>>) -> Result<Vec<Entry>, E> {
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

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The seq of the oldest entry that is still there. When there is none, `last + 1`.
    pub first: u64,
    /// The last seq that was ever used; 0 before the first append.
    pub last: u64,
}

impl Ends {
    /// Before the first append.
    pub(super) const EMPTY: Self = Self { first: 1, last: 0 };
}

/// Bounds of a log. What is beyond one of them is trimmed from the log's old end, by and by.
///
/// A log is full at `max_entries` or `max_bytes`. What users' devices appended ([`NewEntry::writer`]) is then protected from
/// other users: until a device of an inbox's owner has acknowledged it, and in channels, and inboxes whose owner has acknowledged
/// nothing, for `unread_grace`. What a writer that holds its share wrote is not. Where only protected entries are in the way, a
/// writer that holds its share is refused ([`LogError::Full`](super::LogError::Full)); one that does not makes the log grow, up to
/// twice its bounds.
///
/// ```
/// use im_sdk::cluster::LogBounds;
/// let bounds = LogBounds { max_entries: 1_000, ..LogBounds::default() };
/// assert_eq!(bounds.max_age.as_secs(), 30 * 24 * 60 * 60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// How many entries a log keeps at least, unless they are too old or take more than `max_bytes`. Default 10,000. A store that
    /// trims in blocks may keep some hundred more.
    pub max_entries: u64,
    /// How many bytes a log takes: the store's own measure, overhead included. Default 8 MiB, so that a log of the longest
    /// messages (64 KiB) still has more than a hundred.
    pub max_bytes: u64,
    /// How old an entry gets, by the time in its message id. Default 30 days. Older ones are never read. A producer
    /// that has appended nothing for that long is forgotten (see [`Once::Producer`]).
    pub max_age: Duration,
    /// Into how many shares an inbox is divided. A writer holds one: with the default of 8, an eighth of `max_entries` and of
    /// `max_bytes`.
    pub inbox_shares: u32,
    /// Into how many shares a channel's log is divided. Default 2: one author may dominate a group.
    pub channel_shares: u32,
    /// How long an entry is protected that nobody can acknowledge: in a channel, and in an inbox whose owner has never
    /// acknowledged anything, such as a bot's. Default 7 days: members who were away for longer are reset anyway in busy channels.
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

pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
