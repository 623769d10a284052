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

mod count;
mod list;
mod marks;
mod push;

pub(super) use self::{
    list::{RawConversation, RawList, Which},
    marks::MAX_MARKS,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Channel, ChannelError, HistoryEntry, HistoryError, im::Im};
use crate::{
    ConversationChange, ConversationState, ReadMark, Recipient,
    cluster::{ConversationPatch, ConversationsError, LogError, LogId, MembersError, Readers},
    id::{Device, InvalidId, UserId},
};

/// Unread messages of one conversation are counted up to here.
pub const MAX_UNREAD: u32 = 999;

/// In channels with more members than this, members are not told at once how far others have read: they ask.
pub const MAX_TOLD_MEMBERS: usize = 100;

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

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedConversation {
    /// With whom, and what the user has set in it.
    pub state: ConversationState,
    /// The last message that the user may see.
    pub last: Option<HistoryEntry>,
    /// How many messages of others are behind what the user has read, up to [`MAX_UNREAD`].
    pub unread: u32,
    /// There may be more than that: they are too many to count, or the log does not reach back far enough.
    pub unread_more: bool,
    /// How many of the newest unread messages mention the user.
    pub mentions: u32,
}

/// A conversation cannot be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
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
    /// Unread counts are exact up to [`MAX_UNREAD`], as far as the log, or for those on the page
    /// [`ImConfig::message_store`](super::ImConfig::message_store), still has what is unread;
    /// [`ListedConversation::unread_more`] tells where not. At most [`MAX_CONVERSATION_PAGE`] are on a page.
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
    pub async fn conversations(
        &self,
        user: &UserId,
        skip: usize,
        limit: usize,
    ) -> Result<ConversationPage, ConversationError> {
        let list =
            self.raw_conversations(user, Which::Listed, skip, limit.clamp(1, MAX_CONVERSATION_PAGE)).await?;
        Ok(ConversationPage {
            conversations: list.conversations.into_iter().map(ListedConversation::from).collect(),
            more: list.more,
            unread: list.unread,
            unread_more: list.unread_more,
            version: list.version,
        })
    }

    /// Changes what a user has set in a conversation, as a device of the user would, and tells the user's devices.
    /// Places beyond the end of the log count as its end.
    ///
    /// # Errors
    /// [`ConversationError`]. Repeating it does no harm.
    pub async fn set_conversation(
        &self,
        user: &UserId,
        conversation: impl Into<Recipient>,
        change: ConversationChange,
    ) -> Result<ConversationState, ConversationError> {
        let outcome = self.change_conversation(user, &conversation.into(), change).await?;
        if outcome.changed {
            self.tell_changes(user, None, vec![outcome.state.clone()]).await;
        }
        Ok(outcome.state)
    }
}

/// The most conversations on one page.
pub const MAX_CONVERSATION_PAGE: usize = 200;

impl Channel {
    /// How many members have read the channel up to a place or further, and who, up to `limit` (at most
    /// [`MAX_NAMED_READERS`]) names.
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn readers(&self, seq: u64, limit: usize) -> Result<Readers, ReadersError> {
        let (im, channel) = self.parts()?;
        let store = im.inner.cluster.conversations();
        Ok(store.readers(channel, seq.max(1), limit.min(MAX_NAMED_READERS)).await?)
    }

    /// The last place in the channel's log.
    pub(super) async fn end(&self) -> Result<u64, ChannelError> {
        let (im, channel) = self.parts()?;
        let ends = im.inner.cluster.log().ends(&[LogId::Channel(channel.clone())]).await?;
        Ok(ends.first().map_or(0, |ends| ends.last))
    }

    /// Who of these is no member, as far as it matters: in an empty channel there is nothing to have read.
    pub(super) async fn not_yet_members(
        &self,
        users: &[UserId],
        end: u64,
    ) -> Result<Vec<UserId>, ChannelError> {
        let (im, channel) = self.parts()?;
        if end == 0 {
            return Ok(Vec::new());
        }
        let members = im.inner.cluster.members();
        let looks = users.iter().map(|user| async move {
            members.is_member(channel, user).await.map(|is_member| (!is_member).then(|| user.clone()))
        });
        let looks: Vec<_> = looks.collect();
        let found: Vec<Option<UserId>> = stream::iter(looks).buffer_unordered(PARALLEL).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What was said up to here is not unread to new members.
    pub(super) async fn begin_reading(&self, users: &[UserId], end: u64) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        let (store, name) = (im.inner.cluster.conversations(), Recipient::Channel(channel.clone()));
        let patch = ConversationPatch { read: Some(ReadMark::new(end, None)), ..Default::default() };
        let begins: Vec<_> = users.iter().map(|user| store.change(user, &name, &patch)).collect();
        stream::iter(begins).buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        Ok(())
    }

    /// Those who are no members any more do not count as readers.
    pub(super) async fn forget_readers(&self, users: &[UserId]) -> Result<(), ChannelError> {
        let (im, channel) = self.parts()?;
        Ok(im.inner.cluster.conversations().remove_readers(channel, users).await?)
    }
}

/// How many new members are written down at once.
const PARALLEL: usize = 64;

impl From<RawConversation> for ListedConversation {
    fn from(raw: RawConversation) -> Self {
        Self {
            last: raw.last.map(HistoryEntry::from),
            unread: raw.unread.count(),
            unread_more: raw.unread.more,
            mentions: u32::try_from(raw.unread.mentions.len()).unwrap_or(u32::MAX),
            state: raw.state,
        }
    }
}

#[cfg(all(test, feature = "client"))]
mod tests;
