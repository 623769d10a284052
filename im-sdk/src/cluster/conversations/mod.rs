//! What users have set in their conversations, and how far members have read channels. What an implementation must do is
//! told by its conformance suite.

#[cfg(feature = "backend")]
mod disk;
mod memory;
mod patch;
mod redis;

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

#[cfg(feature = "backend")]
pub use self::disk::DiskConversations;
#[cfg(feature = "backend")]
pub(super) use self::disk::create;
pub use self::{
    memory::MemoryConversations,
    patch::{ConversationPatch, Made},
    redis::RedisConversations,
};
use crate::{
    ConversationState, Recipient,
    id::{ChannelId, MessageId, UserId},
    proto::limits,
};

/// Of how many conversations of a user the state is kept, unless a store is given another limit. Nothing is forgotten
/// there: a change of one more is refused ([`ConversationsError::is_too_many`]). It bounds what one user's devices can have
/// stored, which is more than a shop's customers.
pub const MAX_CONVERSATIONS: usize = limits::MAX_CONVERSATIONS;

/// The highest place that a mark may name: a store may count in floating point. No log gets there.
pub const MAX_MARKED_SEQ: u64 = limits::MAX_SEQ;

/// The most contacts of a user that are kept. Beyond, the one that was noted the longest time ago is forgotten.
pub const MAX_CONTACTS: usize = 1024;

/// How many messages that a user has deleted for itself are remembered. Beyond, the oldest of these messages show again, as far as
/// they are kept at all. A log keeps as many entries.
pub const MAX_DELETED_MESSAGES: usize = 10_000;

/// How long a contact is kept after it was noted last.
pub const CONTACT_TTL: Duration = Duration::from_secs(180 * 24 * 3600);

/// Keeps what users have set in their conversations, and to whom they have written. Back ends alone use it.
#[async_trait]
pub trait Conversations: Send + Sync + fmt::Debug + 'static {
    /// Changes what a user has set in a conversation, by the rules of [`ConversationPatch`]. A change that makes a
    /// difference gets the user's next version: 1, 2, 3 and so on. Of several at once, each sees those before it.
    ///
    /// # Errors
    /// [`ConversationsError`]: it may have been made. Repeating it does no harm. It was not made where it
    /// [is too many](ConversationsError::is_too_many).
    async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        patch: &ConversationPatch,
    ) -> Result<ChangedConversation, ConversationsError>;

    /// What a user has set in these conversations, in their order. Nothing was set: as
    /// [`ConversationState::new`] has it.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn states(
        &self,
        user: &UserId,
        conversations: &[Recipient],
    ) -> Result<Vec<ConversationState>, ConversationsError>;

    /// Up to `limit` states that were changed after a version, in the order of their versions.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn changed_since(
        &self,
        user: &UserId,
        version: u64,
        limit: usize,
    ) -> Result<ChangedPage, ConversationsError>;

    /// A member has read a channel up to a seq. It never goes back.
    ///
    /// # Errors
    /// [`ConversationsError`]. Repeating it does no harm.
    async fn note_reader(
        &self,
        channel: &ChannelId,
        user: &UserId,
        seq: u64,
    ) -> Result<(), ConversationsError>;

    /// Notes the same of several members. 0 notes that they are members, and have read nothing.
    ///
    /// # Errors
    /// [`ConversationsError`]: some may be noted. Repeating it does no harm.
    async fn note_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
        seq: u64,
    ) -> Result<(), ConversationsError> {
        for user in users {
            self.note_reader(channel, user, seq).await?;
        }
        Ok(())
    }

    /// What is noted of these users in a channel, in their order.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn noted_readers(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<Option<u64>>, ConversationsError>;

    /// How many have read a channel up to a seq or further, and up to `limit` of them, in any order.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn readers(
        &self,
        channel: &ChannelId,
        seq: u64,
        limit: usize,
    ) -> Result<Readers, ConversationsError>;

    /// Forgets how far these users have read a channel.
    ///
    /// # Errors
    /// [`ConversationsError`]. Repeating it does no harm.
    async fn remove_readers(&self, channel: &ChannelId, users: &[UserId]) -> Result<(), ConversationsError>;

    /// Notes that a user has written to another one. It is forgotten after [`CONTACT_TTL`], or when the user has written to
    /// [`MAX_CONTACTS`] others since.
    ///
    /// # Errors
    /// [`ConversationsError`]. Repeating it does no harm.
    async fn note_contact(&self, user: &UserId, contact: &UserId) -> Result<(), ConversationsError>;

    /// Notes that a user does not want to see these messages any more, in whatever log they are. Of a user's messages the
    /// [`MAX_DELETED_MESSAGES`] newest ones are remembered.
    ///
    /// # Errors
    /// [`ConversationsError`]. Repeating it does no harm.
    async fn note_deleted(&self, user: &UserId, messages: &[MessageId]) -> Result<(), ConversationsError>;

    /// Which of these messages a user does not want to see any more.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn find_deleted(
        &self,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<HashSet<MessageId>, ConversationsError>;

    /// Whether a user has written to another one, as far as it is known. The other direction says nothing.
    ///
    /// # Errors
    /// [`ConversationsError`].
    async fn has_contact(&self, user: &UserId, contact: &UserId) -> Result<bool, ConversationsError>;
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedConversation {
    /// The state from here on.
    pub state: ConversationState,
    /// How far the user had read before.
    pub read_before: u64,
    /// It made a difference.
    pub changed: bool,
}

/// Some of what was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangedPage {
    /// In the order of their versions.
    pub states: Vec<ConversationState>,
    /// There are others, behind the version of the last one.
    pub more: bool,
    /// The user's last version; 0: nothing was ever set.
    pub version: u64,
}

/// Who has read a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readers {
    /// How many.
    pub count: u64,
    /// Some of them, or all.
    pub users: Vec<UserId>,
}

/// The store of conversations did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store of conversations could not {action}: {source}")]
pub struct ConversationsError {
    action: &'static str,
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl ConversationsError {
    /// What was asked, such as `change a conversation`, and why it was not done.
    pub fn new(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action, source: source.into().into() }
    }

    /// Something is set in as many conversations as may be, see [`MAX_CONVERSATIONS`].
    pub fn too_many(limit: usize) -> Self {
        Self::new(CHANGE, TooMany { limit })
    }

    /// Whether it is [that](ConversationsError::too_many): repeating the change is of no use.
    pub fn is_too_many(&self) -> bool {
        self.source.is::<TooMany>()
    }
}

/// See [`MAX_CONVERSATIONS`].
#[derive(Debug, thiserror::Error)]
#[error("the user has set something in {limit} conversations already, and in no more it is kept")]
struct TooMany {
    limit: usize,
}

/// What was to be done, in errors.
const CHANGE: &str = "change a conversation";
const LOOK: &str = "look conversations up";
const LIST: &str = "list what was changed";
const NOTE: &str = "note a reader";
const LOOK_READERS: &str = "look readers up";
const COUNT: &str = "count readers";
const REMOVE: &str = "remove readers";
const NOTE_CONTACT: &str = "note a contact";
const NOTE_DELETED: &str = "note a deleted message";
const LOOK_DELETED: &str = "look deleted messages up";
const LOOK_CONTACT: &str = "look a contact up";

/// A conversation's name in a store.
fn name(conversation: &Recipient) -> String {
    match conversation {
        Recipient::User(user) => format!("u:{user}"),
        Recipient::Channel(channel) => format!("c:{channel}"),
    }
}
