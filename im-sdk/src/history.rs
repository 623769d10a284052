//! What part of the past is asked for, for back ends and devices alike.

use crate::id::{ChannelId, UserId};

/// Whose messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Conversation {
    /// What the user who asks and this one said to each other: what they sent to each other alone, and what the other one
    /// sent to several.
    User(UserId),
    /// A group or room.
    Channel(ChannelId),
    /// Everything in the inbox of the user who asks.
    Inbox,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistoryRange {
    /// The last entries.
    Newest,
    /// Those with lower seqs, the highest of them first.
    Before(u64),
    /// Those with higher seqs, the lowest of them first; 0: from the beginning.
    After(u64),
}
