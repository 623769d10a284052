//! References of a message to users and other messages.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Body, Content};
use crate::{
    id::{MessageId, UserId},
    proto::limits::MAX_EXCERPT_BYTES,
};

/// The users mentioned by a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Mentions {
    /// The mentioned users, at most [`MAX_MENTIONS`](crate::limits::MAX_MENTIONS).
    pub users: Vec<UserId>,
    /// Whether everybody in the conversation is mentioned.
    pub everybody: bool,
}

impl Mentions {
    /// Returns whether a user is mentioned.
    pub fn call(&self, user: &UserId) -> bool {
        self.everybody || self.users.contains(user)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.everybody && self.users.is_empty()
    }
}

/// A quote: the message that another one answers, with enough of its content to show the quote
/// without it.
///
/// A device names the message and its place (`ReceivedMessage::quote`). The backend looks it up in
/// the conversation, and fills in its sender and excerpt. A quote of a message that it does not
/// find is passed on as received, not [verified](Quote::verified): show it as a claim, or not at
/// all. Quotes of a backend itself are passed on unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Quote {
    /// The quoted message.
    pub message_id: MessageId,
    /// The sender of the quoted message; `None` for the backend.
    pub from: Option<UserId>,
    /// The name of the quoted message's [kind](Content::kind), such as `image`; the application's
    /// name for a custom kind, empty if the quoting device did not know.
    pub kind: String,
    /// The beginning of the quoted text, at most [`MAX_EXCERPT_BYTES`].
    pub excerpt: String,
    /// Whether the backend has found the message in this conversation. Otherwise all fields are
    /// claims of the sender of the quote.
    pub verified: bool,
    /// Whether the quoted message was recalled. Its quote has no excerpt.
    pub recalled: bool,
    /// The seq of the message in the log of the user who quotes it, on the way to the backend; 0
    /// if it is not stated.
    pub seq: u64,
    /// The edit whose text is quoted; `None` for the message as it was sent.
    pub(crate) change: Option<MessageId>,
    /// The order of that edit.
    pub(crate) order: u64,
}

impl Quote {
    /// Creates a quote as claimed by the user who quotes.
    pub fn new(message_id: MessageId, from: Option<UserId>, content: &Content) -> Self {
        let excerpt = excerpt(content.summary()).to_owned();
        let amended = content.amended.as_deref();
        let recalled = amended.is_some_and(|amended| amended.recalled);
        let (change, order) = amended.map(|amended| (amended.change, amended.order)).unzip();
        let kind = match &content.body {
            Body::Custom(custom) => custom.kind.clone(),
            Body::Unknown => String::new(),
            _ => content.kind().map(|kind| kind.to_string()).unwrap_or_default(),
        };
        Self {
            message_id,
            from,
            kind,
            excerpt,
            verified: false,
            recalled,
            seq: 0,
            change,
            order: order.unwrap_or_default(),
        }
    }
}

/// Returns the beginning of a text that fits into an excerpt, cut at a grapheme boundary: a family
/// emoji is not cut to its parents.
fn excerpt(text: &str) -> &str {
    if text.len() <= MAX_EXCERPT_BYTES {
        return text;
    }
    let ends = text.grapheme_indices(true).map(|(start, _)| start);
    match ends.take_while(|end| *end <= MAX_EXCERPT_BYTES).last() {
        // A single grapheme with any number of marks.
        None | Some(0) => &text[..text.floor_char_boundary(MAX_EXCERPT_BYTES)],
        Some(end) => &text[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_ends_behind_a_whole_sign() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        let flag = "\u{1f1e9}\u{1f1ea}";
        for sign in [family, flag, "e\u{301}", "\u{928}\u{93f}", "\u{1112}\u{1161}\u{11ab}", "x"] {
            let text = sign.repeat(MAX_EXCERPT_BYTES);
            let cut = excerpt(&text);
            assert_eq!(cut.len() % sign.len(), 0, "{sign}: {cut}");
            assert!((MAX_EXCERPT_BYTES - sign.len() + 1..=MAX_EXCERPT_BYTES).contains(&cut.len()));
        }
        assert_eq!(excerpt(family), family);
        let marked = format!("e{}", "\u{301}".repeat(MAX_EXCERPT_BYTES));
        assert!(!excerpt(&marked).is_empty() && excerpt(&marked).len() <= MAX_EXCERPT_BYTES);
    }
}
