//! What is looked for, for back ends and devices alike.

use std::time::Duration;

use crate::{
    Conversation, Filter,
    id::{ChannelId, MessageId, UserId},
    proto::limits,
};

/// By how much the times of messages may be out of the order of their log, see [`HistoryQuery`](crate::HistoryQuery).
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The longest text that is looked for, in bytes: some words, not a page.
pub const MAX_SEARCH_BYTES: usize = limits::MAX_SEARCH_BYTES;

/// The most words that are looked for at once.
pub const MAX_SEARCH_WORDS: usize = limits::MAX_SEARCH_WORDS;

/// Messages that are looked for.
///
/// ```
/// use im_sdk::{Conversation, Search};
/// let search = Search::new("lunch tomorrow").within(Conversation::Channel("team".parse()?));
/// # Ok::<(), im_sdk::id::InvalidId>(())
/// ```
///
/// The text is words apart from each other by spaces. A message is found if each of them is somewhere in its text, also
/// inside of a word: that is how languages without spaces are searched. Large and small letters are the same, and so are
/// Latin letters with and without accents; every other character, `%` and `*` too, means itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub(crate) text: String,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) filter: Filter,
    pub(crate) from: Option<UserId>,
    pub(crate) before: Option<SearchPlace>,
}

impl Search {
    /// Looks in the inbox and in all channels of the user. At most [`MAX_SEARCH_BYTES`] and [`MAX_SEARCH_WORDS`].
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), conversation: None, filter: Filter::new(), from: None, before: None }
    }

    /// Only in this conversation.
    #[must_use]
    pub fn within(self, conversation: Conversation) -> Self {
        Self { conversation: Some(conversation), ..self }
    }

    /// Only what this user sent.
    #[must_use]
    pub fn from(self, user: UserId) -> Self {
        Self { from: Some(user), ..self }
    }

    /// Goes on where the page before ended.
    #[must_use]
    pub fn before(self, place: SearchPlace) -> Self {
        Self { before: Some(place), ..self }
    }
}

/// How far a search has come, to go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPlace {
    /// The channel of the last message that was looked at; `None`: it was in the inbox.
    pub channel: Option<ChannelId>,
    /// The last message that was looked at.
    pub message_id: MessageId,
}

/// A search makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSearch {
    /// There is nothing to look for.
    #[error("the text to search for is empty")]
    Empty,
    /// The text is too long.
    #[error("the text to search for is longer than {MAX_SEARCH_BYTES} bytes")]
    TooLong,
    /// The text has too many words.
    #[error("the text to search for has more than {MAX_SEARCH_WORDS} words")]
    TooManyWords,
}
