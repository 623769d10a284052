//! What was sent and is not settled.

use std::fmt;

use crate::{Content, Recipient};

/// What this device calls a send until the back end has given the message an id. Unique in its store, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(u64);

impl LocalId {
    /// The id with this number.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Its number, to store it.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LocalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A send that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedSend {
    /// What [`Client::send`](crate::client::Client::send) returned.
    pub local_id: LocalId,
    /// The receiver.
    pub to: Recipient,
    /// What it carries.
    pub content: Content,
    /// How far it got.
    pub state: SendState,
}

/// How far a send got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendState {
    /// It waits for a connection, or for an earlier one to the same receiver.
    Pending,
    /// It was handed to a connection, and no answer has come.
    Sent,
    /// It failed for good.
    Failed,
}

impl SendState {
    /// The name in logs, such as `pending`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}
