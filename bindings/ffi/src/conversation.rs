//! Conversations: what was read and set in them, and the list.

mod convert;

use crate::ReceivedMessage;

/// The receiver of a message, which also names the conversation.
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

/// How far a user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReadMark {
    /// The last entry that was read; 0: none.
    pub seq: u64,
    /// The message there, if it is known.
    #[uniffi(default = None)]
    pub id: Option<u64>,
}

/// The marks of a user in a conversation, the same on all of the user's devices.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ConversationState {
    /// The conversation.
    pub conversation: Recipient,
    /// The number of the user's change by which it became so. 0: nothing was set.
    pub version: u64,
    /// How far the user has read. It never goes back.
    pub read: ReadMark,
    /// In a conversation with a user: the last message that this user has read of it.
    pub peer_read: Option<u64>,
    /// Stands before all that are not.
    pub pinned: bool,
    /// Does not count in the sum of unread messages, and should not notify.
    pub muted: bool,
    /// The draft: a text that the user has begun to type.
    pub draft: String,
    /// Not in the list as long as nothing is behind this entry.
    pub hidden: u64,
    /// Entries up to this one are not shown to the user any more.
    pub deleted: u64,
    /// In a channel whose past is not for new members: entries up to this one are not shown either.
    pub joined: u64,
    /// The channel was closed while the user was a member. It stays in the list, with what it had up to this entry, until
    /// the user deletes it.
    pub closed: Option<u64>,
    /// The user wants to come back to it. Reading anything of it ends that.
    pub marked_unread: bool,
    /// Where it is muted: only until then, in milliseconds since the Unix epoch. None: without an end.
    pub muted_until_ms: Option<u64>,
    /// Of its unread messages only those that mention the user count in the sum.
    pub mentions_only: bool,
}

/// Marks to set in a conversation. The others stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct ConversationChange {
    /// Everything up to here was read.
    #[uniffi(default = None)]
    pub read: Option<ReadMark>,
    /// Before all that are not pinned, or back among them.
    #[uniffi(default = None)]
    pub pinned: Option<bool>,
    /// Left out of the sum of unread messages, or counted again.
    #[uniffi(default = None)]
    pub muted: Option<bool>,
    /// Where `muted` is true: only until then, in milliseconds since the Unix epoch. None: without an end.
    #[uniffi(default = None)]
    pub muted_until_ms: Option<u64>,
    /// Only those of its unread messages that mention the user count in the sum, or all again.
    #[uniffi(default = None)]
    pub mentions_only: Option<bool>,
    /// Marked as unread, to come back to it, or not any more.
    #[uniffi(default = None)]
    pub marked_unread: Option<bool>,
    /// The draft, at most 1024 bytes; empty removes it.
    #[uniffi(default = None)]
    pub draft: Option<String>,
    /// Out of the list until something is behind this entry; 0: back in it.
    #[uniffi(default = None)]
    pub hidden: Option<u64>,
    /// Entries up to this one are not shown to this user any more.
    #[uniffi(default = None)]
    pub deleted: Option<u64>,
}

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ListedConversation {
    /// The conversation, and the user's marks in it.
    pub state: ConversationState,
    /// The last message that the user may see, with what it says after its last edit; without content if it was recalled.
    pub last: Option<ReceivedMessage>,
    /// The edit by which it says what it says. None: it was never edited.
    pub last_edit: Option<u64>,
    /// It was recalled: nobody is to see what it said.
    pub last_recalled: Option<Recalled>,
    /// The end of the log that this is of.
    pub end: u64,
    /// The number of messages of others behind the read mark.
    pub unread: u32,
    /// The actual number may be higher.
    pub unread_more: bool,
    /// The places of the newest of them, in ascending order.
    pub unread_seqs: Vec<u64>,
    /// The messages there.
    pub unread_ids: Vec<u64>,
    /// The places of those of them that mention the user.
    pub mention_seqs: Vec<u64>,
}

/// That a message was recalled.
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
    /// Behind those on the last pages: what is hidden or deleted. They count among those to skip for the next page.
    pub hidden: Vec<ListedConversation>,
    /// There are further conversations.
    pub more: bool,
    /// Unread messages in all conversations that are not muted, those beyond the page too.
    pub unread: u64,
    /// The actual number of unread messages may be higher.
    pub unread_more: bool,
}

/// The readers of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Readers {
    /// The number.
    pub count: u64,
    /// Some of them, or all.
    pub users: Vec<String>,
}

/// How far a member has read a channel.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReadReceipt {
    /// The channel.
    pub channel: String,
    /// The user that has read it.
    pub user: String,
    /// The last entry that was read.
    pub seq: u64,
    /// The message there, if it is known.
    pub id: Option<u64>,
}

/// Why nothing was set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum MarkError {
    /// A user, a channel or a position makes no sense.
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
        /// Its size.
        bytes: u64,
    },
    /// Something was set in too many conversations that no back end has taken.
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
    /// Returns a name that stays the same over versions and languages, such as `queue_full`.
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
