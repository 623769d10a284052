//! Messages from elsewhere.

use super::Content;
use crate::id::{ChannelId, MessageId, UserId};

/// Messages from elsewhere, passed on together. At most
/// [`MAX_FORWARDED_ENTRIES`](crate::proto::limits::MAX_FORWARDED_ENTRIES), and bundles inside of bundles at most
/// [`MAX_FORWARDED_DEPTH`](crate::proto::limits::MAX_FORWARDED_DEPTH) deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Forwarded {
    /// What is written above them.
    pub title: String,
    /// The messages, in order.
    pub entries: Vec<ForwardedEntry>,
}

impl Forwarded {
    /// A bundle with a title.
    pub fn new(title: impl Into<String>, entries: impl IntoIterator<Item = ForwardedEntry>) -> Self {
        Self { title: title.into(), entries: entries.into_iter().collect() }
    }
}

/// A message that is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct ForwardedEntry {
    /// Who sent it. `None`: not told, or the back end.
    pub from: Option<UserId>,
    /// What they were called, for those who do not know the user: as the user says who passes it on.
    pub name: String,
    /// When, in milliseconds since the Unix epoch; 0: not told.
    pub sent_at_ms: u64,
    /// What it said.
    pub content: Content,
    /// The back end has found the message and says who sent it, when, and what it says. Else that is what the user says who passes
    /// it on. Made by `ReceivedMessage::forward`, an entry can be found.
    pub verified: bool,
    /// Where the message is, on the way to the back end. `None`: not told.
    pub source: Option<ForwardSource>,
}

/// Where a message is that is passed on, in a log of who does it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ForwardSource {
    /// The message.
    pub message_id: MessageId,
    /// Its place in the log.
    pub seq: u64,
    /// The channel that it is in. `None`: the user's inbox.
    pub channel: Option<ChannelId>,
}

impl ForwardedEntry {
    /// A message, as whoever passes it on says it was.
    pub fn new(id: MessageId, from: Option<UserId>, content: Content) -> Self {
        let content = Content { amended: None, ..content };
        Self { from, sent_at_ms: id.unix_ms(), content, ..Self::default() }
    }

    /// The same with its sender's name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}
