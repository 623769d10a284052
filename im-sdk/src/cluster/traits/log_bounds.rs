//! Bounds of logs.

use std::time::Duration;

/// The bounds of a log. Entries beyond them are trimmed from the oldest on, by and by.
///
/// A log is full at `max_entries` or `max_bytes`. Entries that users' devices published
/// ([`NewEntry::writer`](super::NewEntry::writer)) are then protected from other users. In an inbox they are protected until
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
    /// [`DedupKey::Producer`](super::DedupKey::Producer)).
    pub max_age: Duration,
    /// The number of shares of an inbox. A writer has one: with the default of 8, an eighth of
    /// `max_entries` and of `max_bytes`.
    pub inbox_shares: u32,
    /// The number of shares of a channel's log. Default 2: one author may dominate a group.
    pub channel_shares: u32,
    /// The time for which an entry is protected if no device can acknowledge it: in a channel, and
    /// in an inbox whose owner has never acknowledged anything, such as a bot's. Default 7 days: in
    /// a busy channel, members who were away for longer are reset anyway.
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
