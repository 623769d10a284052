//! Who and what a message points to.

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
        let summary = content.summary();
        let excerpt = summary[..summary.floor_char_boundary(MAX_EXCERPT_BYTES)].to_owned();
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
