//! Logs and positions in them.

use std::fmt;

use crate::{
    Conversation,
    id::{ChannelId, InvalidId, MessageId},
    proto::pb,
};

/// A log of messages that this device follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Log {
    /// The messages to the user, and those that the user's other devices send.
    Inbox,
    /// A group or room.
    Channel(ChannelId),
}

impl Log {
    /// Parses the name of a log in the protocol; that of the inbox is empty.
    ///
    /// # Errors
    /// [`InvalidId`] if the name is neither empty nor a channel.
    pub fn parse(name: &str) -> Result<Self, InvalidId> {
        if name.is_empty() { Ok(Self::Inbox) } else { ChannelId::parse(name).map(Self::Channel) }
    }

    /// Returns the channel, or `None` for the inbox.
    pub fn channel(&self) -> Option<&ChannelId> {
        match self {
            Self::Inbox => None,
            Self::Channel(channel) => Some(channel),
        }
    }

    /// Returns the channel's name, empty for the inbox.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Inbox => "",
            Self::Channel(channel) => channel.as_str(),
        }
    }
}

/// Converts a log to the conversation that its history is requested by.
impl From<Log> for Conversation {
    fn from(log: Log) -> Self {
        match log {
            Log::Inbox => Self::Inbox,
            Log::Channel(channel) => Self::Channel(channel),
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Self::Inbox { "inbox" } else { self.as_str() })
    }
}

/// A position in a log, which comes with an event, and which [`Client::ack`](crate::client::Client::ack)
/// takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log.
    pub log: Log,
    /// The seq of an entry, counted from 1 without holes, or 0 before the first entry.
    pub seq: u64,
    /// The id of the message at `seq`, if known. It distinguishes this entry from one that had the same seq before
    /// the log was rolled back.
    pub id: Option<MessageId>,
}

/// The reason for which a log continues at another position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetReason {
    /// The device did not follow the log before.
    New,
    /// The log no longer reaches back to the entries that the device has.
    Trimmed,
    /// The log was rolled back: messages that the application has may have been replaced by others.
    Forked,
    /// The user is no longer a member of the channel. The device has stopped following the log.
    Left,
}

impl ResetReason {
    /// Returns the name in logs, such as `trimmed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Trimmed => "trimmed",
            Self::Forked => "forked",
            Self::Left => "left",
        }
    }
}

impl From<pb::ResetReason> for ResetReason {
    fn from(reason: pb::ResetReason) -> Self {
        match reason {
            pb::ResetReason::New => Self::New,
            pb::ResetReason::Forked => Self::Forked,
            pb::ResetReason::Left => Self::Left,
            pb::ResetReason::Unspecified | pb::ResetReason::Trimmed => Self::Trimmed,
        }
    }
}
