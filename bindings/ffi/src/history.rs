//! The past, as a device asks for it.

use im_sdk::{client as sdk, id::ChannelId, id::InvalidId, id::UserId};

use crate::{ReceivedMessage, RefusalKind};

/// Whose messages.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Conversation {
    /// What this device's user and that one said to each other.
    User {
        /// The other user.
        user: String,
    },
    /// A group or room.
    Channel {
        /// Its id.
        channel: String,
    },
    /// Everything in the user's inbox.
    Inbox,
}

impl Conversation {
    pub(crate) fn parse(self) -> Result<sdk::Conversation, InvalidId> {
        Ok(match self {
            Self::User { user } => sdk::Conversation::User(UserId::parse(&user)?),
            Self::Channel { channel } => sdk::Conversation::Channel(ChannelId::parse(&channel)?),
            Self::Inbox => sdk::Conversation::Inbox,
        })
    }
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum HistoryRange {
    /// The last entries.
    Newest,
    /// Those with lower seqs, the highest of them first.
    Before {
        /// This one is not among them.
        seq: u64,
    },
    /// Those with higher seqs, the lowest of them first; 0: from the beginning.
    After {
        /// This one is not among them.
        seq: u64,
    },
}

impl From<HistoryRange> for sdk::HistoryRange {
    fn from(range: HistoryRange) -> Self {
        match range {
            HistoryRange::Newest => Self::Newest,
            HistoryRange::Before { seq } => Self::Before(seq),
            HistoryRange::After { seq } => Self::After(seq),
        }
    }
}

/// A page of the past.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct HistoryPage {
    /// In the order of the log, whatever the direction, each with its position.
    pub messages: Vec<ReceivedMessage>,
    /// There are further ones in the direction that was asked for.
    pub more: bool,
}

impl From<sdk::HistoryPage> for HistoryPage {
    fn from(page: sdk::HistoryPage) -> Self {
        let messages = page.messages.into_iter().map(ReceivedMessage::from).collect();
        Self { messages, more: page.more }
    }
}

/// Why there is no answer. Asking again is always safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum RequestError {
    /// The user or the channel is not an id.
    #[error("{reason}")]
    InvalidId {
        /// What is wrong.
        reason: String,
    },
    /// Too many requests wait already.
    #[error("too many requests wait to be answered")]
    QueueFull,
    /// There was no answer in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// The back end or the server did not answer the question.
    #[error("the request was refused: {reason}")]
    Refused {
        /// Why, for programs.
        kind: RefusalKind,
        /// Why, for people.
        reason: String,
        /// When the same may be asked again; none: never.
        retry_after_ms: Option<u64>,
    },
    /// The device is in as many rooms as it may be.
    #[error("the device is in as many rooms as it may be")]
    TooManyRooms,
    /// The client is stopped.
    #[error("the client is stopped")]
    Stopped,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

#[uniffi::export]
impl RequestError {
    /// A name that stays the same over versions and languages, such as `timed_out`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::InvalidId { .. } => "invalid_id",
            Self::QueueFull => "queue_full",
            Self::TimedOut => "timed_out",
            Self::Refused { .. } => "refused",
            Self::TooManyRooms => "too_many_rooms",
            Self::Stopped => "stopped",
            Self::Closed => "closed",
        };
        code.to_owned()
    }
}

impl From<InvalidId> for RequestError {
    fn from(error: InvalidId) -> Self {
        Self::InvalidId { reason: error.to_string() }
    }
}

impl From<sdk::RequestError> for RequestError {
    fn from(error: sdk::RequestError) -> Self {
        match error {
            sdk::RequestError::QueueFull => Self::QueueFull,
            sdk::RequestError::Refused { kind, reason, retry_after } => {
                let retry_after_ms = retry_after.map(|delay| delay.as_millis() as u64);
                Self::Refused { kind: kind.into(), reason, retry_after_ms }
            }
            sdk::RequestError::TooManyRooms => Self::TooManyRooms,
            sdk::RequestError::Stopped => Self::Stopped,
            sdk::RequestError::Closed => Self::Closed,
            // Whatever comes to be known later: there is no page.
            _ => Self::TimedOut,
        }
    }
}
