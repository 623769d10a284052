//! What part of the past is asked for, for back ends and devices alike.

use crate::{
    Filter, Recipient,
    id::{ChannelId, MessageId, UserId},
};

/// Whose messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Conversation {
    /// What the user who asks and this one said to each other: what they sent to each other alone, and what the other one
    /// sent to several.
    User(UserId),
    /// A group or room.
    Channel(ChannelId),
    /// Everything in the inbox of the user who asks.
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

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum HistoryRange {
    /// The last entries.
    Newest,
    /// Those with lower seqs, the highest of them first.
    Before(u64),
    /// Those with higher seqs, the lowest of them first; 0: from the beginning.
    After(u64),
}

/// Which entries of a conversation are asked for: a part of its log, and of that, if wanted, only some.
///
/// ```
/// use im_sdk::{HistoryQuery, HistoryRange, Kind};
/// let pictures = HistoryQuery::newest().kinds([Kind::Image, Kind::Video]);
/// let of_a_day = HistoryQuery::from(HistoryRange::After(0)).since_ms(1_767_225_600_000).until_ms(1_767_312_000_000);
/// # assert_ne!(pictures, of_a_day);
/// ```
///
/// Times are those in message ids, in milliseconds since the Unix epoch. A log is in the order of its seqs and not of time: the
/// clocks of back ends differ, and a send that is retried keeps its first id. So a time is a filter, not a place, and where
/// 256 entries in a row, or all that one page looks at, are beyond it by more than [`CLOCK_TOLERANCE`], the rest is taken to be so
/// too.
///
/// [`CLOCK_TOLERANCE`]: crate::CLOCK_TOLERANCE
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    pub(crate) start: HistoryStart,
    pub(crate) filter: Filter,
}

/// Where it begins, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryStart {
    Range(HistoryRange),
    BeforeMessage(MessageId),
    AfterMessage(MessageId),
}

impl HistoryQuery {
    /// The last entries.
    pub fn newest() -> Self {
        HistoryRange::Newest.into()
    }

    /// Those before the entry with this message, the nearest to it. The message has to be there.
    pub fn before_message(id: MessageId) -> Self {
        Self::starting(HistoryStart::BeforeMessage(id))
    }

    /// Those after the entry with this message, the nearest to it. The message has to be there.
    pub fn after_message(id: MessageId) -> Self {
        Self::starting(HistoryStart::AfterMessage(id))
    }

    fn starting(start: HistoryStart) -> Self {
        Self { start, filter: Filter::new() }
    }

    /// The same from elsewhere, such as the place where the page before ended.
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
