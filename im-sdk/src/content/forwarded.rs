//! Messages from elsewhere.

use super::Content;
use crate::id::{MessageId, UserId};

/// Messages from elsewhere, passed on together. At most
/// [`MAX_FORWARDED_ENTRIES`](crate::proto::limits::MAX_FORWARDED_ENTRIES), and bundles inside of bundles at most
/// [`MAX_FORWARDED_DEPTH`](crate::proto::limits::MAX_FORWARDED_DEPTH) deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[non_exhaustive]
pub struct ForwardedEntry {
    /// Who sent it. `None`: not told, or the back end.
    pub from: Option<UserId>,
    /// What they were called, for those who do not know the user.
    pub name: String,
    /// When, in milliseconds since the Unix epoch; 0: not told.
    pub sent_at_ms: u64,
    /// What it said.
    pub content: Content,
}

impl ForwardedEntry {
    /// A message as it was received.
    pub fn new(id: MessageId, from: Option<UserId>, content: Content) -> Self {
        Self { from, name: String::new(), sent_at_ms: id.unix_ms(), content }
    }

    /// The same with its sender's name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}
