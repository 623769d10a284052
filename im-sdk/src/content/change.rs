//! Changes to messages.

use super::Content;
use crate::id::{ChannelId, MessageId, UserId};

/// Changes an earlier message. It is a message itself, an entry of the same logs, and comes to everybody who has the
/// message; [`Timeline`](crate::timeline::Timeline) puts them together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Change {
    /// The message that is changed.
    pub message_id: MessageId,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// The channel that the message is in, where the change is in another log: [`ChangeKind::DeleteForMe`] is in the
    /// inbox of who does not want to see it.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub channel: Option<ChannelId>,
    /// Where the message is in the log of who changes it, on the way to the back end.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) seq: u64,
    /// The two users whose message it is, where the back end changes it.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub(crate) between: Vec<UserId>,
    /// Ranks the changes of one message: the last one has the highest order. The back end sets it when the change is logged.
    pub order: u64,
}

/// That an edit or a recall was carried out where the message is kept: what it said before is gone from the logs and the message
/// store. The change is an entry of the same log, too. A [`Timeline`](crate::timeline::Timeline) needs only one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Amended {
    /// The change.
    pub change: MessageId,
    /// It was a recall, and the content is empty. Else the content is that of the edit.
    pub recalled: bool,
    /// Who recalled it. `None`: the back end itself.
    pub by: Option<UserId>,
    /// The change's own order.
    pub order: u64,
}

impl Amended {
    /// By this change.
    pub fn new(change: MessageId, recalled: bool, by: Option<UserId>) -> Self {
        Self { change, recalled, by, order: 0 }
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChangeKind {
    /// Nobody is to see it any more.
    Recall,
    /// It says this from now on.
    Edit(Box<Content>),
    /// The user that says so does not want to see it any more; nobody else learns of it.
    DeleteForMe,
    /// One user's sign to it. Each user has up to
    /// [`MAX_REACTIONS_PER_USER`](crate::proto::limits::MAX_REACTIONS_PER_USER) different ones.
    Reaction {
        /// An emoji, or the application's name for one; 1 to
        /// [`MAX_REACTION_BYTES`](crate::proto::limits::MAX_REACTION_BYTES).
        emoji: String,
        /// It is taken back.
        removed: bool,
    },
    /// It is kept in view, for everybody in the conversation.
    Pin {
        /// It is let go again.
        removed: bool,
    },
    /// A kind that this version does not know: without effect.
    Unknown,
}

impl ChangeKind {
    /// The name in texts, such as `recall`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Edit(_) => "edit",
            Self::DeleteForMe => "delete_for_me",
            Self::Reaction { .. } => "reaction",
            Self::Pin { .. } => "pin",
            Self::Unknown => "unknown",
        }
    }
}

/// What a reaction is known by: an emoji with and without the selectors of its look is one, which keyboards differ in.
pub(crate) fn reaction_key(emoji: &str) -> String {
    emoji.chars().filter(|char| !matches!(char, '\u{fe0e}' | '\u{fe0f}')).collect()
}

impl Change {
    /// Any change of a message.
    pub fn new(message_id: MessageId, kind: ChangeKind) -> Self {
        Self { message_id, kind, channel: None, seq: 0, between: Vec::new(), order: 0 }
    }

    /// Nobody is to see the message any more.
    pub fn recall(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Recall)
    }

    /// It says something else from now on.
    pub fn edit(message_id: MessageId, content: impl Into<Content>) -> Self {
        Self::new(message_id, ChangeKind::Edit(Box::new(content.into())))
    }

    /// The user that says so does not want to see it any more.
    pub fn delete_for_me(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::DeleteForMe)
    }

    /// A sign to the message.
    pub fn react(message_id: MessageId, emoji: impl Into<String>) -> Self {
        Self::new(message_id, ChangeKind::Reaction { emoji: emoji.into(), removed: false })
    }

    /// Takes a sign back.
    pub fn unreact(message_id: MessageId, emoji: impl Into<String>) -> Self {
        Self::new(message_id, ChangeKind::Reaction { emoji: emoji.into(), removed: true })
    }

    /// Keeps the message in view.
    pub fn pin(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Pin { removed: false })
    }

    /// Lets it go again.
    pub fn unpin(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Pin { removed: true })
    }
}
