//! Forwarded messages.

use super::Content;
use crate::id::{ChannelId, MessageId, UserId};

/// A bundle of forwarded messages: at most
/// [`MAX_FORWARDED_ENTRIES`](crate::limits::MAX_FORWARDED_ENTRIES), with bundles nested at
/// most [`MAX_FORWARDED_DEPTH`](crate::limits::MAX_FORWARDED_DEPTH) deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Forwarded {
    /// The title above the messages.
    pub title: String,
    /// The messages, in order.
    pub entries: Vec<ForwardedEntry>,
}

impl Forwarded {
    /// Creates a bundle with a title.
    pub fn new(title: impl Into<String>, entries: impl IntoIterator<Item = ForwardedEntry>) -> Self {
        Self { title: title.into(), entries: entries.into_iter().collect() }
    }
}

/// A forwarded message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct ForwardedEntry {
    /// The sender; `None` if it is not stated, or the backend.
    pub from: Option<UserId>,
    /// The sender's name, for readers who do not know the user, as stated by the user who forwards.
    pub name: String,
    /// The time of sending, in milliseconds since the Unix epoch; 0 if it is not stated.
    pub sent_at_ms: u64,
    /// The content of the message.
    pub content: Content,
    /// Whether the backend has found the message, and states its sender, time and content.
    /// Otherwise they are claims of the user who forwards. An entry made by
    /// `ReceivedMessage::forward` can be found.
    pub verified: bool,
    /// The place of the message, on the way to the backend; `None` if it is not stated.
    pub source: Option<ForwardSource>,
}

/// The place of a forwarded message in a log of the user who forwards it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ForwardSource {
    /// The message.
    pub message_id: MessageId,
    /// Its seq in the log.
    pub seq: u64,
    /// The channel of the message; `None` for the user's inbox.
    pub channel: Option<ChannelId>,
}

impl ForwardedEntry {
    /// Creates an entry as claimed by the user who forwards.
    pub fn new(id: MessageId, from: Option<UserId>, content: Content) -> Self {
        let content = Content { amended: None, ..content };
        Self { from, sent_at_ms: id.unix_ms(), content, ..Self::default() }
    }

    /// Sets the sender's name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}
