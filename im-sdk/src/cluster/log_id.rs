//! Names of logs.

use std::fmt;

use crate::id::{ChannelId, UserId};

/// Identifies a log: the inbox of a user, or the log of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogId {
    /// The messages that a user's devices receive.
    Inbox(UserId),
    /// The messages that a channel's members receive.
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
