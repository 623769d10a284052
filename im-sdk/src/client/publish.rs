//! Sends as the device counts them, and what becomes of them.

use std::fmt;

use bytes::Bytes;

use crate::id::MessageId;

/// The device's own id of a send, unique in its store and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(u64);

impl LocalId {
    /// Creates an id from its number.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the id as a number, to store it.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LocalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The result of a publish that the backend accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id of the message. `None` if the backend handled the publish without sending a message.
    pub message_id: Option<MessageId>,
    /// The application's own answer, often empty.
    pub answer: Bytes,
}

/// The progress of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendState {
    /// The send waits for a connection, or for an earlier send to the same receiver.
    Pending,
    /// The send was handed to a connection, and no answer has come.
    Sent,
    /// The send failed for good.
    Failed,
}

impl SendState {
    /// Returns the name in logs, such as `pending`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}
