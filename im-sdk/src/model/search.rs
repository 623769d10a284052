//! Search queries.

use std::time::Duration;

use crate::{
    Conversation, Filter,
    id::{ChannelId, MessageId, UserId},
    proto::limits,
};

/// The maximum difference between the order of messages' times and of their log, see
/// [`HistoryQuery`](crate::HistoryQuery).
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The maximum length of a search text, in bytes: some words, not a page.
pub const MAX_SEARCH_BYTES: usize = limits::MAX_SEARCH_BYTES;

/// The maximum number of words in a search text.
pub const MAX_SEARCH_WORDS: usize = limits::MAX_SEARCH_WORDS;

/// A query for messages by text.
///
/// ```
/// use im_sdk::{Conversation, Search};
/// let search = Search::new("lunch tomorrow").within(Conversation::Channel("team".parse()?));
/// # Ok::<(), im_sdk::id::InvalidId>(())
/// ```
///
/// The text consists of words separated by spaces. A message matches if each word is somewhere in
/// its text, also inside of a word, as languages without spaces need it. Upper and lower case
/// match, and so do Latin letters with and without accents. Every other character, `%` and `*`
/// included, matches itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub(crate) text: String,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) filter: Filter,
    pub(crate) from: Option<UserId>,
    pub(crate) before: Option<SearchPlace>,
}

impl Search {
    /// Searches the inbox and all channels of the user. The text has at most [`MAX_SEARCH_BYTES`]
    /// and [`MAX_SEARCH_WORDS`].
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), conversation: None, filter: Filter::new(), from: None, before: None }
    }

    /// Searches only this conversation.
    #[must_use]
    pub fn within(self, conversation: Conversation) -> Self {
        Self { conversation: Some(conversation), ..self }
    }

    /// Searches only messages of this sender.
    #[must_use]
    pub fn from(self, user: UserId) -> Self {
        Self { from: Some(user), ..self }
    }

    /// Continues where the previous page ended.
    #[must_use]
    pub fn before(self, place: SearchPlace) -> Self {
        Self { before: Some(place), ..self }
    }
}

/// The position of a search, from which it continues.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPlace {
    /// The channel of the last inspected message; `None` for the inbox.
    pub channel: Option<ChannelId>,
    /// The last inspected message.
    pub message_id: MessageId,
}

/// The search is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSearch {
    /// The text is empty.
    #[error("the text to search for is empty")]
    Empty,
    /// The text is too long.
    #[error("the text to search for is longer than {MAX_SEARCH_BYTES} bytes")]
    TooLong,
    /// The text has too many words.
    #[error("the text to search for has more than {MAX_SEARCH_WORDS} words")]
    TooManyWords,
}
