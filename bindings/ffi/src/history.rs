//! History and search, as a device requests them.

use im_sdk::{
    client as sdk,
    id::{ChannelId, InvalidId, MessageId, UserId},
};

use crate::{ReceivedMessage, RefusalKind};

/// The conversation whose messages are requested.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Conversation {
    /// The messages between this device's user and the other one.
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
    pub(crate) fn parse(self) -> Result<im_sdk::Conversation, InvalidId> {
        Ok(match self {
            Self::User { user } => im_sdk::Conversation::User(UserId::parse(&user)?),
            Self::Channel { channel } => im_sdk::Conversation::Channel(ChannelId::parse(&channel)?),
            Self::Inbox => im_sdk::Conversation::Inbox,
        })
    }
}

impl From<im_sdk::Conversation> for Conversation {
    fn from(conversation: im_sdk::Conversation) -> Self {
        match conversation {
            im_sdk::Conversation::User(user) => Self::User { user: user.to_string() },
            im_sdk::Conversation::Channel(channel) => Self::Channel { channel: channel.to_string() },
            im_sdk::Conversation::Inbox => Self::Inbox,
        }
    }
}

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum HistoryRange {
    /// The last entries.
    Newest,
    /// Entries with lower seqs, the highest of them first.
    Before {
        /// The seq, which is excluded.
        seq: u64,
    },
    /// Entries with higher seqs, the lowest of them first; 0 for the beginning of the log.
    After {
        /// The seq, which is excluded.
        seq: u64,
    },
}

impl From<HistoryRange> for im_sdk::HistoryRange {
    fn from(range: HistoryRange) -> Self {
        match range {
            HistoryRange::Newest => Self::Newest,
            HistoryRange::Before { seq } => Self::Before(seq),
            HistoryRange::After { seq } => Self::After(seq),
        }
    }
}

impl From<im_sdk::HistoryRange> for HistoryRange {
    fn from(range: im_sdk::HistoryRange) -> Self {
        match range {
            im_sdk::HistoryRange::Newest => Self::Newest,
            im_sdk::HistoryRange::Before(seq) => Self::Before { seq },
            im_sdk::HistoryRange::After(seq) => Self::After { seq },
        }
    }
}

/// A kind of content.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Kind {
    /// A kind of the protocol, by the number of its field in `Content`: 1 is text.
    Number {
        /// The number.
        number: u32,
    },
    /// A kind that the application defines.
    Custom {
        /// The application's name for it.
        name: String,
    },
}

impl From<Kind> for im_sdk::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Number { number } => Self::from_number(number, ""),
            Kind::Custom { name } => Self::custom(&name),
        }
    }
}

/// A query for entries of a conversation: those of `range`, unless `before_message` or `after_message` is
/// set.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct HistoryQuery {
    /// The part of the log.
    pub range: HistoryRange,
    /// The entries before the entry with this message, in place of `range`.
    #[uniffi(default = None)]
    pub before_message: Option<u64>,
    /// The entries after the entry with this message, in place of `range`.
    #[uniffi(default = None)]
    pub after_message: Option<u64>,
    /// Only messages that were sent at this time or later, in milliseconds since the Unix epoch.
    #[uniffi(default = None)]
    pub since_ms: Option<u64>,
    /// Only messages that were sent before this time.
    #[uniffi(default = None)]
    pub until_ms: Option<u64>,
    /// Only these kinds. Empty: all kinds.
    #[uniffi(default = [])]
    pub kinds: Vec<Kind>,
}

impl HistoryQuery {
    pub(crate) fn parse(self) -> Result<im_sdk::HistoryQuery, InvalidId> {
        let mut query = match (self.before_message, self.after_message) {
            (Some(id), _) => im_sdk::HistoryQuery::before_message(message(id)?),
            (None, Some(id)) => im_sdk::HistoryQuery::after_message(message(id)?),
            (None, None) => im_sdk::HistoryRange::from(self.range).into(),
        };
        if let Some(since) = self.since_ms {
            query = query.since_ms(since);
        }
        if let Some(until) = self.until_ms {
            query = query.until_ms(until);
        }
        Ok(query.kinds(self.kinds.into_iter().map(Into::into)))
    }
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct HistoryPage {
    /// The messages in the order of the log, whatever the direction, each with its position.
    pub messages: Vec<ReceivedMessage>,
    /// Reactions to these messages, and pins of them, including those on newer pages: for a timeline.
    pub changes: Vec<ReceivedMessage>,
    /// The start of the next page in the same direction, even after a page with few messages or none. None: this is the last
    /// one.
    pub next: Option<HistoryRange>,
}

impl From<sdk::HistoryPage> for HistoryPage {
    fn from(page: sdk::HistoryPage) -> Self {
        let messages = page.messages.into_iter().map(ReceivedMessage::from).collect();
        let changes = page.changes.into_iter().map(ReceivedMessage::from).collect();
        Self { messages, changes, next: page.next.map(Into::into) }
    }
}

/// A search for messages.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Search {
    /// Words separated by spaces.
    pub text: String,
    /// Only in this conversation. None: in everything that the user may see.
    #[uniffi(default = None)]
    pub conversation: Option<Conversation>,
    /// Only these kinds. Empty: all kinds.
    #[uniffi(default = [])]
    pub kinds: Vec<Kind>,
    /// Only messages of this user.
    #[uniffi(default = None)]
    pub from: Option<String>,
    /// Only messages that were sent at this time or later, in milliseconds since the Unix epoch.
    #[uniffi(default = None)]
    pub since_ms: Option<u64>,
    /// Only messages that were sent before this time.
    #[uniffi(default = None)]
    pub until_ms: Option<u64>,
    /// Continues where the previous page ended.
    #[uniffi(default = None)]
    pub before: Option<SearchPlace>,
}

impl Search {
    pub(crate) fn parse(self) -> Result<im_sdk::Search, InvalidId> {
        let mut search = im_sdk::Search::new(self.text).kinds(self.kinds.into_iter().map(Into::into));
        if let Some(conversation) = self.conversation {
            search = search.within(conversation.parse()?);
        }
        if let Some(user) = self.from {
            search = search.from(UserId::parse(&user)?);
        }
        if let Some(since) = self.since_ms {
            search = search.since_ms(since);
        }
        if let Some(until) = self.until_ms {
            search = search.until_ms(until);
        }
        if let Some(place) = self.before {
            let channel = place.channel.map(|channel| ChannelId::parse(&channel)).transpose()?;
            search = search.before(im_sdk::SearchPlace { channel, message_id: message(place.message_id)? });
        }
        Ok(search)
    }
}

/// The position of a search, from which it continues.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SearchPlace {
    /// The channel of the last inspected message. None: the inbox.
    pub channel: Option<String>,
    /// The last inspected message.
    pub message_id: u64,
}

impl From<im_sdk::SearchPlace> for SearchPlace {
    fn from(place: im_sdk::SearchPlace) -> Self {
        let channel = place.channel.map(|channel| channel.to_string());
        Self { channel, message_id: place.message_id.as_u64() }
    }
}

/// Results of a search.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FoundPage {
    /// The messages, newest first, each with its position in its log.
    pub messages: Vec<ReceivedMessage>,
    /// The start of the next page. None: this is the last one.
    pub next: Option<SearchPlace>,
}

impl From<sdk::FoundPage> for FoundPage {
    fn from(page: sdk::FoundPage) -> Self {
        let messages = page.messages.into_iter().map(ReceivedMessage::from).collect();
        Self { messages, next: page.next.map(SearchPlace::from) }
    }
}

fn message(id: u64) -> Result<MessageId, InvalidId> {
    match MessageId::from_u64(id) {
        Some(id) => Ok(id),
        None => id.to_string().parse(),
    }
}

/// The reason why there is no answer. A request can always be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum RequestError {
    /// The id of a user, a channel or a message is not valid.
    #[error("{reason}")]
    InvalidId {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// Too many requests are waiting already.
    #[error("{reason}")]
    QueueFull {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// No answer arrived in time.
    #[error("{reason}")]
    TimedOut {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The back end or the server refused the request.
    #[error("the request was refused: {reason}")]
    Refused {
        /// The kind of refusal, for programs.
        kind: RefusalKind,
        /// The reason, for people.
        reason: String,
        /// For a `Rule`: the application's own code, 0 or more, or a negative one of the SDK. Otherwise 0.
        rule_code: i32,
        /// The time after which the device may retry. None: never.
        retry_after_ms: Option<u64>,
    },
    /// The request does not fit into a frame. Nothing was sent.
    #[error("{reason}")]
    TooLarge {
        /// The reason, in a human-readable form.
        reason: String,
        /// The size of the request.
        bytes: u64,
        /// The maximum size.
        limit: u64,
    },
    /// The device is in the maximum number of rooms.
    #[error("{reason}")]
    TooManyRooms {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is stopped.
    #[error("{reason}")]
    Stopped {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The application has not asked for a connection, or has disconnected.
    #[error("{reason}")]
    NotConnected {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is closed.
    #[error("{reason}")]
    Closed {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

#[uniffi::export]
impl RequestError {
    /// Returns a name that is stable across versions and languages, such as `timed_out`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::InvalidId { .. } => "invalid_id",
            Self::QueueFull { .. } => "queue_full",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused { .. } => "refused",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyRooms { .. } => "too_many_rooms",
            Self::Stopped { .. } => "stopped",
            Self::NotConnected { .. } => "not_connected",
            Self::Closed { .. } => "closed",
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
        let said = error.to_string();
        match error {
            sdk::RequestError::InvalidId(error) => error.into(),
            sdk::RequestError::QueueFull => Self::QueueFull { reason: said },
            sdk::RequestError::Refused { kind, reason, code, retry_after } => {
                let retry_after_ms = retry_after.map(|delay| delay.as_millis() as u64);
                Self::Refused { kind: kind.into(), reason, rule_code: code, retry_after_ms }
            }
            sdk::RequestError::TooLarge { bytes, limit } => {
                Self::TooLarge { reason: said, bytes: bytes as u64, limit: limit as u64 }
            }
            sdk::RequestError::TooManyRooms => Self::TooManyRooms { reason: said },
            sdk::RequestError::Stopped { .. } => Self::Stopped { reason: said },
            sdk::RequestError::NotConnected => Self::NotConnected { reason: said },
            sdk::RequestError::Closed => Self::Closed { reason: said },
            // Any error of a later version: there is no page.
            _ => Self::TimedOut { reason: said },
        }
    }
}
