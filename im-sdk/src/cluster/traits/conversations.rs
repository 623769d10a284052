//! Per-user state of conversations, and how far members have read channels.
//!
//! The conformance suite states what an implementation must do.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::conversation_patch::ConversationPatch;

use crate::{
    ConversationState, Recipient,
    id::{ChannelId, MessageId, UserId},
    proto::limits,
};

/// The default maximum of conversations of a user for which state is stored. Nothing is forgotten
/// at the limit: a change to one more conversation is refused
/// ([`ConversationsError::is_too_many`]). It bounds what one user's devices can have stored, and
/// exceeds the customers of a shop.
pub const MAX_CONVERSATIONS: usize = limits::MAX_CONVERSATIONS;

/// The highest seq that a mark may name: a store may count in floating point. No log gets there.
pub const MAX_MARKED_SEQ: u64 = limits::MAX_SEQ;

/// The maximum number of stored contacts of a user. Beyond, the contact that was noted the longest
/// time ago is forgotten.
pub const MAX_CONTACTS: usize = 1024;

/// The maximum number of remembered messages that a user has deleted for itself. Beyond, the oldest
/// of them show again if they are still stored. A log keeps as many entries.
pub const MAX_DELETED_MESSAGES: usize = 10_000;

/// The lifetime of a contact after it was last noted.
pub const CONTACT_TTL: Duration = Duration::from_secs(180 * 24 * 3600);

/// Stores the state of users' conversations, and their contacts. Only backends use it.
#[async_trait]
pub trait ConversationStore: Send + Sync + fmt::Debug + 'static {
    /// Changes a user's state of a conversation, by the rules of [`ConversationPatch`]. An
    /// effective change gets the user's next version: 1, 2, 3 and so on. Of concurrent changes,
    /// each sees those before it.
    ///
    /// # Errors
    /// [`ConversationsError`]: the change may have been made, and may be repeated. It was not made
    /// if the error [is "too many"](ConversationsError::is_too_many).
    async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        patch: &ConversationPatch,
    ) -> Result<ChangedConversation, ConversationsError>;

    /// Returns a user's state of these conversations, in their order. A conversation without
    /// changes has the state of [`ConversationState::new`].
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn states(
        &self,
        user: &UserId,
        conversations: &[Recipient],
    ) -> Result<Vec<ConversationState>, ConversationsError>;

    /// Returns up to `limit` states that changed after a version, in the order of their versions.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn changed_since(
        &self,
        user: &UserId,
        version: u64,
        limit: usize,
    ) -> Result<ChangedPage, ConversationsError>;

    /// Records that members have read a channel up to a seq. The records never go back. A seq
    /// of 0 records members who have read nothing.
    ///
    /// # Errors
    /// [`ConversationsError`]: some may have been recorded. May be repeated.
    async fn note_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        seq: u64,
    ) -> Result<(), ConversationsError>;

    /// Returns how far each of these users has read a channel, in their order; `None` without a
    /// record.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn noted_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<Option<u64>>, ConversationsError>;

    /// Counts the members who have read a channel up to a seq or further, and returns up to `limit`
    /// of them, in any order.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError>;

    /// Removes the records of how far these users have read a channel.
    ///
    /// # Errors
    /// [`ConversationsError`]. May be repeated.
    async fn remove_readers(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), ConversationsError>;

    /// Records that a user has written to another one. The record is removed after [`CONTACT_TTL`],
    /// or when the user has since written to [`MAX_CONTACTS`] others.
    ///
    /// # Errors
    /// [`ConversationsError`]. May be repeated.
    async fn note_contact(&self, user: &UserId, contact: &UserId) -> Result<(), ConversationsError>;

    /// Records that a user has deleted these messages for itself, in whatever log they are. The
    /// newest [`MAX_DELETED_MESSAGES`] of a user's messages are remembered.
    ///
    /// # Errors
    /// [`ConversationsError`]. May be repeated.
    async fn note_deleted(&self, user: &UserId, messages: &[MessageId]) -> Result<(), ConversationsError>;

    /// Returns which of these messages a user has deleted for itself.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn find_deleted(
        &self,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<HashSet<MessageId>, ConversationsError>;

    /// Returns whether a user is known to have written to another one. The other direction says
    /// nothing.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn has_contact(&self, user: &UserId, contact: &UserId) -> Result<bool, ConversationsError>;
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedConversation {
    /// The state after the change.
    pub state: ConversationState,
    /// The seq up to which the user had read before.
    pub read_before: u64,
    /// Whether the change made a difference.
    pub changed: bool,
}

/// A page of changed states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedPage {
    /// The states, in the order of their versions.
    pub states: Vec<ConversationState>,
    /// Whether there are more behind the version of the last one.
    pub more: bool,
    /// The user's last version; 0 if nothing was ever changed.
    pub version: u64,
}

/// The readers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readers {
    /// The number of readers.
    pub count: u64,
    /// Some of the readers, or all.
    pub users: Vec<UserId>,
}

/// An error of the store of conversations.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store of conversations could not {action}: {source}")]
pub struct ConversationsError {
    action: &'static str,
    r#source: Arc<dyn std::error::Error + Send + Sync>,
}

impl ConversationsError {
    /// Creates an error from the requested action, such as `change a conversation`, and its cause.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into().into() }
    }

    /// Creates the error for a user with the maximum number of conversations, see
    /// [`MAX_CONVERSATIONS`].
    pub fn too_many(limit: usize) -> Self {
        Self::new(CHANGE, TooMany { limit })
    }

    /// Returns whether the user [has too many conversations](ConversationsError::too_many).
    /// Repeating the change is of no use.
    pub fn is_too_many(&self) -> bool {
        self.source.is::<TooMany>()
    }
}

/// See [`MAX_CONVERSATIONS`].
#[derive(Debug, thiserror::Error)]
#[error("the user has state in {limit} conversations, which is the maximum")]
struct TooMany {
    limit: usize,
}

/// The actions named in errors.
pub(in crate::cluster) const CHANGE: &str = "change a conversation";
pub(in crate::cluster) const LOOK: &str = "look conversations up";
pub(in crate::cluster) const LIST: &str = "list what was changed";
pub(in crate::cluster) const NOTE: &str = "note a reader";
pub(in crate::cluster) const LOOK_READERS: &str = "look readers up";
pub(in crate::cluster) const COUNT: &str = "count readers";
pub(in crate::cluster) const REMOVE: &str = "remove readers";
pub(in crate::cluster) const NOTE_CONTACT: &str = "note a contact";
pub(in crate::cluster) const NOTE_DELETED: &str = "note a deleted message";
pub(in crate::cluster) const LOOK_DELETED: &str = "look deleted messages up";
pub(in crate::cluster) const LOOK_CONTACT: &str = "look a contact up";

/// Returns the name of a conversation in a store.
pub(in crate::cluster) fn name(conversation: &Recipient) -> String {
    match conversation {
        Recipient::User(user) => format!("u:{user}"),
        Recipient::Channel(channel) => format!("c:{channel}"),
    }
}
