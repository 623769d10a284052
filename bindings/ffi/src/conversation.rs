//! Conversations: read marks, settings, and the list.

mod convert;

use crate::ReceivedMessage;

/// The recipient of a message, which also names the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum Recipient {
    /// A user.
    User {
        /// The other user.
        user: String,
    },
    /// The members of a channel.
    Channel {
        /// Its id.
        channel: String,
    },
}

/// The read mark of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReadMark {
    /// The last entry that was read; 0 for none.
    pub seq: u64,
    /// The message at that position, if known.
    #[uniffi(default = None)]
    pub id: Option<u64>,
}

/// The marks of a user in a conversation, the same on all of the user's devices.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ConversationState {
    /// The conversation.
    pub conversation: Recipient,
    /// The version of the user's last change to this state; 0 if there was none.
    pub version: u64,
    /// The user's read mark. It never goes back.
    pub read: ReadMark,
    /// In a conversation with a user: the last message that this user has read of it.
    pub peer_read: Option<u64>,
    /// Set if the conversation is listed before those that are not pinned.
    pub pinned: bool,
    /// Set if it does not count in the sum of unread messages. It should not notify.
    pub muted: bool,
    /// The draft: a text that the user has begun to type.
    pub draft: String,
    /// The entry up to which the conversation is hidden: it is not listed until there is a later one.
    pub hidden: u64,
    /// The entry up to which entries are deleted for the user.
    pub deleted: u64,
    /// In a channel whose history is hidden from new members: the entry up to which entries are not shown.
    pub joined: u64,
    /// Set if the channel was closed while the user was a member: its last entry. The conversation stays in the list
    /// until the user deletes it.
    pub closed: Option<u64>,
    /// Set if the user marked the conversation as unread. Reading any of it clears the mark.
    pub marked_unread: bool,
    /// The end of the mute, in milliseconds since the Unix epoch. None: the mute has no end.
    pub muted_until_ms: Option<u64>,
    /// Set if only unread messages that mention the user count in the sum.
    pub mentions_only: bool,
}

/// Changes of a conversation's marks. Those that are not set stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct ConversationChange {
    /// Marks everything up to here as read.
    #[uniffi(default = None)]
    pub read: Option<ReadMark>,
    /// Pins the conversation before those that are not pinned, or unpins it.
    #[uniffi(default = None)]
    pub pinned: Option<bool>,
    /// Excludes the conversation from the sum of unread messages, or includes it again.
    #[uniffi(default = None)]
    pub muted: Option<bool>,
    /// With `muted`: the end of the mute, in milliseconds since the Unix epoch. None: the mute has no end.
    #[uniffi(default = None)]
    pub muted_until_ms: Option<u64>,
    /// Counts only unread messages that mention the user in the sum, or all again.
    #[uniffi(default = None)]
    pub mentions_only: Option<bool>,
    /// Marks the conversation as unread, or removes that mark.
    #[uniffi(default = None)]
    pub marked_unread: Option<bool>,
    /// The draft, at most 1024 bytes; empty removes it.
    #[uniffi(default = None)]
    pub draft: Option<String>,
    /// Hides the conversation until there is an entry after this one; 0 shows it again.
    #[uniffi(default = None)]
    pub hidden: Option<u64>,
    /// Deletes entries up to this one for this user.
    #[uniffi(default = None)]
    pub deleted: Option<u64>,
}

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ListedConversation {
    /// The conversation, and the user's marks in it.
    pub state: ConversationState,
    /// The last message that the user may see, with its last edit applied; without content if it was recalled.
    pub last: Option<ReceivedMessage>,
    /// The edit that made its current content. None: it was never edited.
    pub last_edit: Option<u64>,
    /// Set if it was recalled.
    pub last_recalled: Option<Recalled>,
    /// The end of the conversation's log, as of this entry of the list.
    pub end: u64,
    /// The number of messages of others behind the read mark.
    pub unread: u32,
    /// The actual number may be higher.
    pub unread_more: bool,
    /// The positions of the newest unread messages, in ascending order.
    pub unread_seqs: Vec<u64>,
    /// The ids of the messages at `unread_seqs`.
    pub unread_ids: Vec<u64>,
    /// The positions among `unread_seqs` of messages that mention the user.
    pub mention_seqs: Vec<u64>,
}

/// The recall of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Recalled {
    /// The change.
    pub change: u64,
    /// The user that recalled it. None: the back end itself.
    pub by_user: Option<String>,
}

/// A page of the user's conversations.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ConversationPage {
    /// Pinned ones first, then by their last messages, newest first.
    pub conversations: Vec<ListedConversation>,
    /// On the pages after the listed ones: hidden and deleted conversations. They count among those to skip for the
    /// next page.
    pub hidden: Vec<ListedConversation>,
    /// There are further conversations.
    pub more: bool,
    /// Unread messages in all conversations that are not muted, including those beyond the page.
    pub unread: u64,
    /// The actual number of unread messages may be higher.
    pub unread_more: bool,
}

/// The readers of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Readers {
    /// The number of readers.
    pub count: u64,
    /// Some of the readers, or all of them.
    pub users: Vec<String>,
}

/// The read mark of a member in a channel.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReadReceipt {
    /// The channel.
    pub channel: String,
    /// The member.
    pub user: String,
    /// The last entry that was read.
    pub seq: u64,
    /// The message at that position, if known.
    pub id: Option<u64>,
}

/// The reason why a mark was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum MarkError {
    /// A user, a channel or a position is not valid.
    #[error("{reason}")]
    InvalidId {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The draft is too long.
    #[error("{reason}")]
    DraftTooLong {
        /// The reason, in a human-readable form.
        reason: String,
        /// The size of the draft.
        bytes: u64,
    },
    /// Changes of too many conversations wait for the back end.
    #[error("{reason}")]
    QueueFull {
        /// The reason, in a human-readable form.
        reason: String,
    },
    /// The client is closed.
    #[error("{reason}")]
    Closed {
        /// The reason, in a human-readable form.
        reason: String,
    },
}

#[uniffi::export]
impl MarkError {
    /// Returns a name that is stable across versions and languages, such as `queue_full`.
    pub fn code(&self) -> String {
        let code = match self {
            Self::InvalidId { .. } => "invalid_id",
            Self::DraftTooLong { .. } => "draft_too_long",
            Self::QueueFull { .. } => "queue_full",
            Self::Closed { .. } => "closed",
        };
        code.to_owned()
    }
}
