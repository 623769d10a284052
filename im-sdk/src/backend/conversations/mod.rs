//! Conversations: read marks and settings of users, and the list with last messages and unread
//! counts.
//!
//! ```text
//!   mark of a device --> checked against the log --> user's state (max, last change) --> the user's other devices
//!                                                \-> a user: the other one's state   --> that one's devices
//!                                                 \> a channel: its readers          --> members, if they are few
//!   list             <-- states + logs, counted when it is asked for
//! ```
//!
//! A message writes nothing per recipient: its unread count is the number of log entries behind the user's mark.

mod assemble;
mod changes;
mod channels;
mod count;
mod entry;
mod inbox;
mod list;
mod marks;
mod push;
mod read_sizes;
mod readers;
mod store;

use std::sync::Arc;

pub(super) use self::{
    assemble::RawConversation,
    list::{RawList, Which},
    marks::PeerReceipt,
};
use self::{list::ConversationLists, marks::ConversationMarks, push::StatePusher, readers::ChannelReaders};
use crate::{
    ConversationChange, ConversationState, Recipient,
    backend::{
        history::{HistoryError, HistoryReader, LoggedMessage},
        message_store::MessageStore,
        send::dispatch::Dispatcher,
    },
    cluster::{Cluster, ConversationsError, LogError, MembersError, ReadLimit},
    id::{Device, InvalidId, MessageId, UserId},
    proto::limits,
    timeline::Recalled,
};

/// The limit up to which unread messages of one conversation are counted.
pub const MAX_UNREAD: u32 = limits::MAX_UNREAD;

/// The number of members up to which a channel's members are told at once how far others have read.
/// Members of larger channels ask.
pub const MAX_TOLD_MEMBERS: usize = limits::MAX_TOLD_MEMBERS;

/// The most readers named in one answer.
pub const MAX_NAMED_READERS: usize = 1000;

/// A change of a user's state of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marked {
    /// The user.
    pub user: UserId,
    /// The device that made the change, or `None` for the backend itself.
    pub device: Option<Device>,
    /// The state after the change.
    pub state: ConversationState,
    /// The seq up to which the user had read before.
    pub read_before: u64,
}

/// A page of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationPage {
    /// The conversations: pinned ones first, then by their last messages, newest first.
    pub conversations: Vec<ListedConversation>,
    /// More conversations follow.
    pub more: bool,
    /// The unread messages in all conversations that are not muted, including those beyond the
    /// page.
    pub unread: u64,
    /// There may be more unread messages.
    pub unread_more: bool,
    /// The version of the user's last change in it.
    pub version: u64,
}

/// A user's unread messages in all conversations that are not muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadTotal {
    /// The number of messages.
    pub count: u64,
    /// There may be more.
    pub more: bool,
    /// The number of conversations with unread messages.
    pub conversations: u64,
}

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedConversation {
    /// The state of the conversation, with its name.
    pub state: ConversationState,
    /// The last message that the user may see, with the content of its last edit. A recalled
    /// message stays, without content. A message that the user has deleted gives way to the one
    /// before it.
    pub last: Option<LoggedMessage>,
    /// The last edit of that message, if there is one.
    pub last_edit: Option<MessageId>,
    /// The recall of that message, if it was recalled.
    pub last_recalled: Option<Recalled>,
    /// The number of messages of others that the user has not read, up to [`MAX_UNREAD`].
    pub unread: u32,
    /// There may be more, because they are too many to count, or the log does not reach back far
    /// enough.
    pub unread_more: bool,
    /// The number of unread messages that mention the user.
    pub mentions: u32,
}

/// A conversation could not be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The draft is longer than [`MAX_DRAFT_BYTES`](crate::MAX_DRAFT_BYTES).
    #[error("the draft takes {bytes} bytes, more than the {} that are kept", crate::MAX_DRAFT_BYTES)]
    DraftTooLong {
        /// The size of the draft.
        bytes: usize,
    },
    /// The user is not a member of the channel.
    #[error("the user is not a member of the channel")]
    NotAMember,
    /// The store of conversations did not answer. The change may have been made: repeat the call.
    #[error(transparent)]
    Store(#[from] ConversationsError),
    /// The log store did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The message store did not answer.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The store of members did not answer.
    #[error(transparent)]
    Members(#[from] MembersError),
}

/// The readers of a channel could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadersError {
    /// The channel has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The store of conversations did not answer.
    #[error(transparent)]
    Store(#[from] ConversationsError),
}

/// The conversations of users.
#[derive(Debug)]
pub(super) struct Conversations {
    pub(super) lists: ConversationLists,
    pub(super) marks: ConversationMarks,
    pub(super) readers: ChannelReaders,
    pub(super) pusher: Arc<StatePusher>,
}

impl Conversations {
    pub(super) fn new(
        cluster: Cluster,
        store: Option<Arc<dyn MessageStore>>,
        history: Arc<HistoryReader>,
        dispatcher: Arc<Dispatcher>,
    ) -> Self {
        let pusher = Arc::new(StatePusher::new(cluster.clone(), dispatcher));
        Self {
            lists: ConversationLists::new(cluster.clone(), store, history),
            marks: ConversationMarks::new(cluster.clone(), Arc::clone(&pusher)),
            readers: ChannelReaders::new(cluster),
            pusher,
        }
    }

    /// Returns a page of a user's list. See [`Im::conversations`](super::Im::conversations).
    pub(super) async fn page(
        &self,
        user: &UserId,
        skip: usize,
        limit: usize,
    ) -> Result<ConversationPage, ConversationError> {
        let limit =
            ReadLimit::new(limit.clamp(1, MAX_CONVERSATION_PAGE)).with_bytes(MAX_CONVERSATION_PAGE_BYTES);
        let list = self.lists.read(user, Which::Listed, skip, limit).await?;
        Ok(ConversationPage {
            conversations: list.conversations.into_iter().map(ListedConversation::from).collect(),
            more: list.more,
            unread: list.unread.count,
            unread_more: list.unread.more,
            version: list.version,
        })
    }

    /// Returns one conversation of a user. See [`Im::conversation`](super::Im::conversation).
    pub(super) async fn one(
        &self,
        user: &UserId,
        conversation: Recipient,
    ) -> Result<Option<ListedConversation>, ConversationError> {
        Ok(self.lists.read_one(user, conversation).await?.map(ListedConversation::from))
    }

    /// Counts a user's unread messages. See [`Im::unread`](super::Im::unread).
    pub(super) async fn unread(&self, user: &UserId) -> Result<UnreadTotal, ConversationError> {
        Ok(self.lists.read(user, Which::Listed, 0, ReadLimit::new(0)).await?.unread)
    }

    /// Changes a user's state of a conversation. See
    /// [`Im::set_conversation`](super::Im::set_conversation).
    pub(super) async fn set(
        &self,
        user: &UserId,
        conversation: &Recipient,
        change: ConversationChange,
    ) -> Result<ConversationState, ConversationError> {
        // The backend means the state as it is now.
        let made = self.marks.made(None, u64::MAX, 0);
        let (outcome, receipt) = self.marks.change(user, conversation, change, made).await?;
        if let Some(receipt) = receipt {
            self.marks.show_peer(user, receipt).await?;
        }
        if outcome.changed {
            self.pusher.tell_changes(user, None, vec![outcome.state.clone()]).await;
        }
        Ok(outcome.state)
    }
}

/// The most conversations on one page.
pub const MAX_CONVERSATION_PAGE: usize = limits::MAX_PAGE;

/// The most bytes of last messages on one page, except for a single larger one.
pub const MAX_CONVERSATION_PAGE_BYTES: usize = 1024 * 1024;

impl From<RawConversation> for ListedConversation {
    fn from(raw: RawConversation) -> Self {
        Self {
            last: raw.last.map(|last| LoggedMessage::of(raw.state.conversation.as_channel().cloned(), last)),
            last_edit: raw.last_edit.map(|edit| edit.change),
            last_recalled: raw.last_recalled,
            unread: raw.unread.count(),
            unread_more: raw.unread.more,
            mentions: raw.unread.mentioned(),
            state: raw.state,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "client")]
mod tests;
