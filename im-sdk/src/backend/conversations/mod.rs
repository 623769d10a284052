//! Conversations: how far users have read, what they have set, and the list with last messages and unread counts.
//!
//! ```text
//!   mark of a device --> checked against the log --> user's state (max, last change) --> the user's other devices
//!                                                \-> a user: the other one's state   --> that one's devices
//!                                                 \> a channel: its readers          --> members, if they are few
//!   list             <-- states + logs, counted when it is asked for
//! ```
//!
//! Nothing is written per recipient of a message: unread is what stands in a log behind the mark.

mod assemble;
mod changes;
mod channels;
mod count;
mod inbox;
mod list;
mod marks;
mod push;
mod readers;
mod store;

pub(super) use self::{
    assemble::RawConversation,
    list::{RawList, Which},
    marks::PeerReceipt,
};
use crate::{
    ConversationChange, ConversationState, Recipient,
    backend::{HistoryError, LoggedMessage, im::Im, parse_ids::parse_user},
    cluster::{ConversationsError, LogError, MembersError, ReadLimit},
    id::{Device, InvalidId, MessageId, UserId},
    proto::limits,
    timeline::Recalled,
};

/// Unread messages of one conversation are counted up to here.
pub const MAX_UNREAD: u32 = limits::MAX_UNREAD;

/// In channels with more members than this, members are not told at once how far others have read: they ask.
pub const MAX_TOLD_MEMBERS: usize = limits::MAX_TOLD_MEMBERS;

/// The most readers that are named in one answer.
pub const MAX_NAMED_READERS: usize = 1000;

/// A user has read or set something in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marked {
    /// Whose conversation it is.
    pub user: UserId,
    /// The device that said so. `None`: the back end itself.
    pub device: Option<Device>,
    /// How it stands now.
    pub state: ConversationState,
    /// How far the user had read before.
    pub read_before: u64,
}

/// A user's conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationPage {
    /// Pinned ones first, then by their last messages, newest first.
    pub conversations: Vec<ListedConversation>,
    /// There are further ones.
    pub more: bool,
    /// Unread messages in all conversations that are not muted, those beyond the page too.
    pub unread: u64,
    /// There may be more unread messages than that.
    pub unread_more: bool,
    /// The user's last change that is in it.
    pub version: u64,
}

/// What a user has not read, over all conversations that are not muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadTotal {
    /// How many messages.
    pub count: u64,
    /// There may be more than that.
    pub more: bool,
    /// In how many conversations.
    pub conversations: u64,
}

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedConversation {
    /// With whom, and what the user has set in it.
    pub state: ConversationState,
    /// The last message that the user may see, with what it says after its last edit. One that was recalled stays, without
    /// content; one that the user has deleted for itself gives way to the one before it.
    pub last: Option<LoggedMessage>,
    /// The edit by which it says what it says. `None`: it was never edited.
    pub last_edit: Option<MessageId>,
    /// It was recalled: nobody is to see what it said.
    pub last_recalled: Option<Recalled>,
    /// How many messages of others are behind what the user has read, up to [`MAX_UNREAD`].
    pub unread: u32,
    /// There may be more than that: they are too many to count, or the log does not reach back far enough.
    pub unread_more: bool,
    /// How many of the unread messages mention the user.
    pub mentions: u32,
}

/// A conversation cannot be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// The user has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The draft is longer than [`MAX_DRAFT_BYTES`](crate::MAX_DRAFT_BYTES).
    #[error("the draft takes {bytes} bytes, more than the {} that are kept", crate::MAX_DRAFT_BYTES)]
    DraftTooLong {
        /// What it takes.
        bytes: usize,
    },
    /// The user is no member of the channel.
    #[error("the user is not a member of the channel")]
    NotAMember,
    /// The store of conversations did not answer. What was to be changed may be changed: repeat it.
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

/// Who has read a message of a channel cannot be told.
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

impl Im {
    /// The conversations of a user, from `skip` on: with everybody whom the inbox, or what the user has set, knows of, and
    /// in all channels of the user. It is put together from the logs when it is asked for.
    ///
    /// Messages count and show as changes have left them: a recalled one, or one that the user has deleted for itself, is not
    /// unread. Changes stand behind what they change, so whatever is counted has been seen with its changes; of deletions for
    /// oneself in channels those count that are among the newest entries of the inbox, some thousands, and of one log the
    /// newest [`MAX_WAITING_CHANGES`](crate::timeline::MAX_WAITING_CHANGES) changes.
    ///
    /// Unread counts are exact up to [`MAX_UNREAD`], as far as the log, or for those on the page
    /// [`ImBuilder::message_store`](super::ImBuilder::message_store), still has what is unread;
    /// [`ListedConversation::unread_more`] tells where not. At most [`MAX_CONVERSATION_PAGE`] are on
    /// a page, and no more than there are bytes for, [`MAX_CONVERSATION_PAGE_BYTES`]: go on behind as many as came.
    ///
    /// ```
    /// use im_sdk::{
    ///     ConversationChange, ReadMark,
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let (alice, bob) = (UserId::parse("alice")?, UserId::parse("bob")?);
    /// for text in ["hi", "are you there?"] {
    ///     im.send(Message::to(user("alice")).from(&bob).text(text)).await?;
    /// }
    /// let page = im.conversations(&alice, 0, 20).await?;
    /// assert_eq!((page.unread, page.conversations[0].unread), (2, 2));
    ///
    /// // Devices do this by `client.mark_read(bob, &position)`.
    /// let read = ConversationChange::new().read(ReadMark::new(1, None)).pin(true);
    /// im.set_conversation(&alice, bob.clone(), read).await?;
    /// let page = im.conversations(&alice, 0, 20).await?;
    /// assert_eq!(page.unread, 1);
    /// assert!(page.conversations[0].state.pinned);
    /// // Bob's state says how far alice has read.
    /// let page = im.conversations(&bob, 0, 20).await?;
    /// assert!(page.conversations[0].state.peer_read.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    #[doc(alias("badge", "unread"))]
    pub async fn conversations(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        skip: usize,
        limit: usize,
    ) -> Result<ConversationPage, ConversationError> {
        let user = &parse_user(user)?;
        let limit =
            ReadLimit::new(limit.clamp(1, MAX_CONVERSATION_PAGE)).with_bytes(MAX_CONVERSATION_PAGE_BYTES);
        let list = self.raw_conversations(user, Which::Listed, skip, limit).await?;
        Ok(ConversationPage {
            conversations: list.conversations.into_iter().map(ListedConversation::from).collect(),
            more: list.more,
            unread: list.unread.count,
            unread_more: list.unread.more,
            version: list.version,
        })
    }

    /// One conversation of a user, as [`Im::conversations`] has it. `None`: the user has none of this name, such as in a channel
    /// that it is not a member of. One that is hidden or deleted is returned as well.
    ///
    /// It costs about what the list does, less the other channels: the inbox is gone through.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let (alice, bob) = (UserId::parse("alice")?, UserId::parse("bob")?);
    /// im.send(Message::to(user("alice")).from(&bob).text("hi")).await?;
    /// let conversation = im.conversation(&alice, bob).await?.ok_or("there is one")?;
    /// assert_eq!(conversation.unread, 1);
    /// assert!(im.conversation(&alice, UserId::parse("carol")?).await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    pub async fn conversation(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
    ) -> Result<Option<ListedConversation>, ConversationError> {
        let found = self.raw_conversation(&parse_user(user)?, conversation.into()).await?;
        Ok(found.map(ListedConversation::from))
    }

    /// How much a user has not read, for a badge: the sum that [`Im::conversations`] has, without the list.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    /// let config = Im::builder().system_user(UserId::parse("system")?);
    /// let im = config.start(Cluster::embedded()).await?;
    /// im.send(Message::to(user("zoe")).text("welcome!")).await?;
    /// assert_eq!(im.unread("zoe").await?.count, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    #[doc(alias = "badge")]
    pub async fn unread(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<UnreadTotal, ConversationError> {
        let list = self.raw_conversations(&parse_user(user)?, Which::Listed, 0, ReadLimit::new(0)).await?;
        Ok(list.unread)
    }

    /// Changes what a user has set in a conversation, as a device of the user would, and tells the user's devices.
    /// Places beyond the end of the log count as its end.
    ///
    /// # Errors
    /// [`ConversationError`]. Repeating it does no harm.
    pub async fn set_conversation(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
        change: ConversationChange,
    ) -> Result<ConversationState, ConversationError> {
        let user = &parse_user(user)?;
        // Whoever asks a back end means what is there now.
        let made = self.made(None, u64::MAX, 0);
        let (outcome, receipt) = self.change_conversation(user, &conversation.into(), change, made).await?;
        if let Some(receipt) = receipt {
            self.show_peer(user, receipt).await?;
        }
        if outcome.changed {
            self.tell_changes(user, None, vec![outcome.state.clone()]).await;
        }
        Ok(outcome.state)
    }
}

/// The most conversations on one page.
pub const MAX_CONVERSATION_PAGE: usize = limits::MAX_PAGE;

/// The most bytes of last messages on one page; one that is larger alone is on a page all the same.
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

#[cfg(all(test, feature = "client"))]
mod tests;
