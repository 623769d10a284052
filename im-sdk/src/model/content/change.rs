//! Changes to messages: recall, edit, deletion, reaction, pin.

use super::Content;
use crate::id::{ChannelId, MessageId, UserId};

/// A change to an earlier message. It is a message itself, an entry of the same logs, and reaches
/// everybody who has the message; a [`Timeline`](crate::timeline::Timeline) combines them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Change {
    /// The changed message.
    pub message_id: MessageId,
    /// The kind of change.
    pub kind: ChangeKind,
    /// The channel of the message, if the change is in another log: a [`ChangeKind::DeleteForMe`]
    /// is in the inbox of the user who deletes.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub channel: Option<ChannelId>,
    /// The seq of the message in the log of the user who changes it, on the way to the backend.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) seq: u64,
    /// The two users of the conversation, if the backend makes the change.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub(crate) between: Vec<UserId>,
    /// The rank among the changes of one message: the last one has the highest order. The backend
    /// sets it when it logs the change.
    pub order: u64,
}

/// A note that an edit or a recall was applied where the message is stored: the previous content is
/// gone from the logs and the message store. The change is an entry of the same log, too; a
/// [`Timeline`](crate::timeline::Timeline) needs only one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Amended {
    /// The change.
    pub change: MessageId,
    /// Whether it was a recall, so that the content is empty; otherwise the content is that of the
    /// edit.
    pub recalled: bool,
    /// The user who recalled the message; `None` for the backend itself.
    pub by: Option<UserId>,
    /// The order of the change.
    pub order: u64,
}

impl Amended {
    /// Creates the note of a change.
    pub fn new(change: MessageId, recalled: bool, by: Option<UserId>) -> Self {
        Self { change, recalled, by, order: 0 }
    }
}

/// A kind of change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChangeKind {
    /// Removes the message for everybody.
    Recall,
    /// Replaces the content of the message.
    Edit(Box<Content>),
    /// Removes the message for the user who sends the change; nobody else learns of it.
    DeleteForMe,
    /// A reaction of one user. Each user has up to
    /// [`MAX_REACTIONS_PER_USER`](crate::limits::MAX_REACTIONS_PER_USER) different ones.
    Reaction {
        /// An emoji, or the application's name for one; 1 to
        /// [`MAX_REACTION_BYTES`](crate::limits::MAX_REACTION_BYTES).
        emoji: String,
        /// Whether the reaction is removed.
        removed: bool,
    },
    /// Pins the message for everybody in the conversation.
    Pin {
        /// Whether the pin is removed.
        removed: bool,
    },
    /// A kind that this version does not know; it has no effect.
    Unknown,
}

impl ChangeKind {
    /// Returns the name in texts, such as `recall`.
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

/// Returns the key of a reaction. Emojis with and without variation selectors have one key:
/// keyboards differ in them.
pub(crate) fn reaction_key(emoji: &str) -> String {
    emoji.chars().filter(|char| !matches!(char, '\u{fe0e}' | '\u{fe0f}')).collect()
}

impl Change {
    /// Creates a change of any kind.
    pub fn new(message_id: MessageId, kind: ChangeKind) -> Self {
        Self { message_id, kind, channel: None, seq: 0, between: Vec::new(), order: 0 }
    }

    /// Creates a change that removes a message for everybody.
    pub fn recall(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Recall)
    }

    /// Creates a change that replaces the content of a message.
    pub fn edit(message_id: MessageId, content: impl Into<Content>) -> Self {
        Self::new(message_id, ChangeKind::Edit(Box::new(content.into())))
    }

    /// Creates a change that removes a message for the user who sends the change.
    pub fn delete_for_me(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::DeleteForMe)
    }

    /// Creates a change that adds a reaction.
    pub fn react(message_id: MessageId, emoji: impl Into<String>) -> Self {
        Self::new(message_id, ChangeKind::Reaction { emoji: emoji.into(), removed: false })
    }

    /// Creates a change that removes a reaction.
    pub fn unreact(message_id: MessageId, emoji: impl Into<String>) -> Self {
        Self::new(message_id, ChangeKind::Reaction { emoji: emoji.into(), removed: true })
    }

    /// Creates a change that pins a message.
    pub fn pin(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Pin { removed: false })
    }

    /// Creates a change that removes a pin.
    pub fn unpin(message_id: MessageId) -> Self {
        Self::new(message_id, ChangeKind::Pin { removed: true })
    }
}
