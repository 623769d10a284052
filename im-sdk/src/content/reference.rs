//! Who and what a message points to.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{Body, Content};
use crate::{
    id::{MessageId, UserId},
    proto::limits::MAX_EXCERPT_BYTES,
};

/// Whom a message calls by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Mentions {
    /// Users, at most [`MAX_MENTIONS`](crate::proto::limits::MAX_MENTIONS).
    pub users: Vec<UserId>,
    /// Everybody in the conversation.
    pub everybody: bool,
}

impl Mentions {
    /// Whether a user is called.
    pub fn call(&self, user: &UserId) -> bool {
        self.everybody || self.users.contains(user)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.everybody && self.users.is_empty()
    }
}

/// The message that another one answers, with enough of it to be shown without it.
///
/// A device names the message and its place: `ReceivedMessage::quote`. The back end looks it up in the conversation, and says itself
/// who sent it and what it says. What it does not find it passes on as it came, not [verified](Quote::verified): show that as
/// somebody's claim, or not at all. A back end's own quotes are as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Quote {
    /// The message.
    pub message_id: MessageId,
    /// Who sent it. `None`: the back end.
    pub from: Option<UserId>,
    /// What it is: the name of its [kind](Content::kind), such as `image`; the application's own for a custom one, empty where whoever
    /// quoted it did not know.
    pub kind: String,
    /// The beginning of what it says, at most [`MAX_EXCERPT_BYTES`].
    pub excerpt: String,
    /// The back end has found the message in this conversation. Else all of this is what the sender of the quote says.
    pub verified: bool,
    /// The message was recalled: there is no excerpt.
    pub recalled: bool,
    /// Where the message is in the log of who quotes it, on the way to the back end; 0: not told.
    pub seq: u64,
    /// The edit whose text the excerpt is of. `None`: the message as it was sent.
    pub(crate) change: Option<MessageId>,
    /// That edit's order.
    pub(crate) order: u64,
}

impl Quote {
    /// A message, as whoever quotes it says it is.
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

/// As much of a text as an excerpt holds, up to the end of a sign as people see it: a family is not cut to its parents.
fn excerpt(text: &str) -> &str {
    if text.len() <= MAX_EXCERPT_BYTES {
        return text;
    }
    let ends = text.grapheme_indices(true).map(|(start, _)| start);
    match ends.take_while(|end| *end <= MAX_EXCERPT_BYTES).last() {
        // A single sign, of any number of marks.
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
