//! Queries for the history of a conversation.

use crate::{
    Filter, Recipient,
    id::{ChannelId, MessageId, UserId},
};

/// A conversation whose messages are queried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Conversation {
    /// The messages between the querying user and this one: those that they sent to each other
    /// alone, and those that the other one sent to several.
    User(UserId),
    /// The messages of a group or room.
    Channel(ChannelId),
    /// All messages in the inbox of the querying user.
    Inbox,
}

impl From<&Conversation> for Conversation {
    fn from(conversation: &Conversation) -> Self {
        conversation.clone()
    }
}

impl From<UserId> for Conversation {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&UserId> for Conversation {
    fn from(user: &UserId) -> Self {
        Self::User(user.clone())
    }
}

impl From<ChannelId> for Conversation {
    fn from(channel: ChannelId) -> Self {
        Self::Channel(channel)
    }
}

impl From<&ChannelId> for Conversation {
    fn from(channel: &ChannelId) -> Self {
        Self::Channel(channel.clone())
    }
}

impl From<Recipient> for Conversation {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self::User(user),
            Recipient::Channel(channel) => Self::Channel(channel),
        }
    }
}

impl From<&Recipient> for Conversation {
    fn from(recipient: &Recipient) -> Self {
        recipient.clone().into()
    }
}

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum HistoryRange {
    /// The last entries.
    Newest,
    /// Entries with lower seqs, the highest of them first.
    Before(u64),
    /// Entries with higher seqs, the lowest of them first; 0 for the beginning of the log.
    After(u64),
}

/// A query for entries of a conversation: a part of its log, and a filter.
///
/// ```
/// use im_sdk::{HistoryQuery, HistoryRange, Kind};
/// let pictures = HistoryQuery::newest().kinds([Kind::Image, Kind::Video]);
/// let of_a_day = HistoryQuery::from(HistoryRange::After(0)).since_ms(1_767_225_600_000).until_ms(1_767_312_000_000);
/// # assert_ne!(pictures, of_a_day);
/// ```
///
/// Times are those in message ids, in milliseconds since the Unix epoch. A log is in the order of
/// its seqs and not of time: the clocks of backends differ, and a retried send keeps its first id.
/// So a time is a filter, not a position. If 256 entries in a row, or all that one page inspects,
/// are beyond it by more than [`CLOCK_TOLERANCE`], the rest is assumed to be so too.
///
/// [`CLOCK_TOLERANCE`]: crate::CLOCK_TOLERANCE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    pub(crate) start: HistoryStart,
    pub(crate) filter: Filter,
}

/// The start and the direction of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryStart {
    Range(HistoryRange),
    BeforeMessage(MessageId),
    AfterMessage(MessageId),
}

impl HistoryQuery {
    /// Queries the last entries.
    pub fn newest() -> Self {
        HistoryRange::Newest.into()
    }

    /// Queries the nearest entries before a message, which must be in the log.
    pub fn before_message(id: MessageId) -> Self {
        Self::starting(HistoryStart::BeforeMessage(id))
    }

    /// Queries the nearest entries after a message, which must be in the log.
    pub fn after_message(id: MessageId) -> Self {
        Self::starting(HistoryStart::AfterMessage(id))
    }

    fn starting(start: HistoryStart) -> Self {
        Self { start, filter: Filter::new() }
    }

    /// Sets another range, such as the place where the previous page ended.
    #[must_use]
    pub fn range(self, range: HistoryRange) -> Self {
        Self { start: HistoryStart::Range(range), ..self }
    }
}

impl From<HistoryRange> for HistoryQuery {
    fn from(range: HistoryRange) -> Self {
        Self::starting(HistoryStart::Range(range))
    }
}
