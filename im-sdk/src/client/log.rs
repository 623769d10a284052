//! Logs and positions in them.

use std::fmt;

use crate::{
    Conversation,
    id::{ChannelId, InvalidId, MessageId},
    proto::pb,
};

/// A list of messages that this device follows.
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
    /// [`InvalidId`] when it is neither empty nor a channel.
    pub fn parse(name: &str) -> Result<Self, InvalidId> {
        if name.is_empty() { Ok(Self::Inbox) } else { ChannelId::parse(name).map(Self::Channel) }
    }

    /// Returns the channel, if it is one.
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

/// A log as a conversation, to ask for its history.
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

/// A place in a log, as it comes with an event and as [`Client::ack`](crate::client::Client::ack) takes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log.
    pub log: Log,
    /// Counted from 1, without holes. 0: before the first entry.
    pub seq: u64,
    /// The message at `seq`, if it is known. It tells this entry from one that stood there before the log was rolled
    /// back.
    pub id: Option<MessageId>,
}

/// The reason for which a log goes on at another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetReason {
    /// The device did not follow the log before.
    New,
    /// The log no longer reaches back to what the device has.
    Trimmed,
    /// The log was rolled back: messages that the application has may have been replaced by others.
    Forked,
    /// The user is not a member of the channel any more. The device has stopped following the log.
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
