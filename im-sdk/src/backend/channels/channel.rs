//! Channels: groups and rooms, their members, and messages to all of them.

pub(super) mod closing;

use std::sync::Arc;

use super::ChannelParts;
use crate::{
    backend::{
        conversations::ReadersError,
        error_chain::chain,
        history::{HistoryError, HistoryPage},
        parse_ids::{parse_user, parse_users},
        send::{
            device::ByServer,
            dispatch::{Dispatcher, Freshness},
            error::SendError,
            message::{Message, Target, left_frame},
            receipt::Receipt,
        },
    },
    cluster::{ConversationsError, LogError, MembersError, Readers, RoutesError},
    id::{ChannelId, InvalidId, UserId},
    proto::{frame, pb},
};

/// The number of members that are added or removed, and whose devices are told, in one step.
const BATCH: usize = 1024;

/// The number of new members' devices that may sync in a second.
const SYNCS_PER_SECOND: usize = 2000;

/// The membership could not be read or changed, or not all devices were told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel or one of the users has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The store of members did not answer. Some of the users may have been added or removed:
    /// repeat the call.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The membership is changed, but not the readers of the channel: for some new members all
    /// messages may be unread, and some removed ones may still count as readers. Repeat a removal
    /// to finish it.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    /// The log store did not return the end of the channel's log. Nobody was added.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The membership is changed, but the users' devices could not be located: they learn of it
    /// with their next sync. Repeat the call to tell them.
    #[error("the members' devices were not told: {}", chain(_0))]
    Routes(RoutesError),
    /// The users are removed, but servers did not confirm that their connections have left: they
    /// may still get messages of the channel. Repeat the call to be sure.
    #[error(
        "the members were removed, but {connections} connections may still receive messages of the channel"
    )]
    Unconfirmed {
        /// The number of these connections.
        connections: usize,
    },
    /// The channel has no members any more, but servers did not confirm that connections have left:
    /// they may still get messages of the channel. Repeat the call to be sure.
    #[error(
        "the channel is closed, but {servers} servers did not confirm that nobody is connected to it any more"
    )]
    UnconfirmedServers {
        /// The number of these servers.
        servers: usize,
    },
}

impl From<RoutesError> for ChannelError {
    fn from(error: RoutesError) -> Self {
        Self::Routes(error)
    }
}

/// The history of a channel could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelHistoryError {
    /// The channel has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The log or the message store could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// A channel, by its id. A channel needs no creation: it exists with its first member or message.
#[derive(Clone, Debug)]
#[doc(alias("group", "team", "chat room"))]
pub struct Channel {
    parts: Arc<ChannelParts>,
    id: Result<ChannelId, InvalidId>,
    /// New members do not see earlier messages.
    from_joining: bool,
}

impl Channel {
    pub(in crate::backend) fn new(parts: Arc<ChannelParts>, id: Result<ChannelId, InvalidId>) -> Self {
        Self { parts, id, from_joining: false }
    }

    /// Sends a message to the members. The message is made by [`Message::new`], or for this
    /// channel; one for another target is
    /// [`InvalidMessage::OtherTarget`](crate::backend::InvalidMessage::OtherTarget). The call is
    /// [`Im::send`](crate::backend::Im::send) with [`channel`](crate::backend::channel) as target:
    /// one entry in the channel's log, however many members it has.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// let receipt = team.send(Message::new().from("alice").text("hi")).await?;
    /// assert_eq!(receipt.channel.map(|channel| channel.seq), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.parts.sender.send(message.retarget(Target::channel(self.id.clone()))?).await
    }

    /// Returns a handle that adds members who do not see earlier messages: not in history, not in
    /// search, and not in what their devices sync.
    ///
    /// This applies to members that this handle adds; the channel does not remember it. A member
    /// who is removed and added again sees the messages from then on.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{Conversation, HistoryQuery, backend::{Im, Message}, cluster::Cluster, id::UserId};
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team").history_from_joining();
    /// team.send(Message::new().text("carol is next")).await?;
    /// team.add_members(["carol"]).await?;
    /// team.send(Message::new().text("welcome")).await?;
    /// let (carol, name) = (UserId::parse("carol")?, Conversation::Channel("team".parse()?));
    /// let seen = im.history(&carol, &name, HistoryQuery::newest(), 20).await?.messages;
    /// assert_eq!(seen.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn history_from_joining(self) -> Self {
        Self { from_joining: true, ..self }
    }

    /// Adds members. Their connected devices follow the channel at once, from near the end of its
    /// log. Earlier messages are not unread for them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.channel("team").add_members(["alice", "bob"]).await?;
    /// assert!(im.channel("team").is_member("bob").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`]. Repeating it does no harm.
    pub async fn add_members<I>(&self, users: impl IntoIterator<Item = I>) -> Result<(), ChannelError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let (channel, users) = (self.id()?, parse_users(users)?);
        for users in users.chunks(BATCH) {
            let new = self.prepare_for(users).await?;
            self.parts.cluster.members().add(channel, users).await?;
            self.let_in(users, &new).await?;
        }
        Ok(())
    }

    /// Removes members. After `Ok`, their devices get nothing of the channel any more, and the
    /// connected ones have been told.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.add_members(["alice", "bob"]).await?;
    /// team.remove_members(["bob"]).await?;
    /// assert!(!team.is_member("bob").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`]. Repeating it does no harm.
    #[doc(alias("kick", "ban", "leave group"))]
    pub async fn remove_members<I>(&self, users: impl IntoIterator<Item = I>) -> Result<(), ChannelError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let (channel, users) = (self.id()?, parse_users(users)?);
        let mut unconfirmed = 0;
        for users in users.chunks(BATCH) {
            self.parts.cluster.members().remove(channel, users).await?;
            unconfirmed += self.take_out(users).await?;
        }
        confirmed(unconfirmed)
    }

    /// Announces that the application has changed members in its own tables: their devices follow
    /// the channel, or leave it, as with [`Channel::add_members`] and [`Channel::remove_members`].
    /// Change the tables first.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// // INSERT .. carol; DELETE .. bob; COMMIT; and then:
    /// im.channel("team").members_changed(["carol"], ["bob"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`]. Repeating it does no harm.
    pub async fn members_changed<I>(
        &self,
        added: impl IntoIterator<Item = I>,
        removed: impl IntoIterator<Item = I>,
    ) -> Result<(), ChannelError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        let (added, removed) = (parse_users(added)?, parse_users(removed)?);
        self.id()?;
        let mut unconfirmed = 0;
        for users in removed.chunks(BATCH) {
            unconfirmed += self.take_out(users).await?;
        }
        for users in added.chunks(BATCH) {
            let new = self.prepare_for(users).await?;
            self.let_in(users, &new).await?;
        }
        confirmed(unconfirmed)
    }

    /// Notes all earlier messages as read for the new ones among these users, and returns these. It
    /// comes before they are members, so that later messages are unread for them.
    async fn prepare_for(&self, users: &[UserId]) -> Result<Vec<UserId>, ChannelError> {
        let (channel, readers) = (self.id()?, &self.parts.conversations.readers);
        let end = readers.end(channel).await?;
        // Members in the application's own tables are there already, so additions are noted apart.
        let new = readers.not_noted(channel, users).await?;
        readers.begin_reading(channel, &new, end, self.from_joining).await?;
        Ok(new)
    }

    async fn let_in(&self, users: &[UserId], new: &[UserId]) -> Result<(), ChannelError> {
        self.parts.conversations.readers.note_members(self.id()?, new).await?;
        let devices = self.parts.dispatcher.locate(users, Freshness::Current, |_| true).await?;
        ask_to_sync(&self.parts.dispatcher, devices).await;
        Ok(())
    }

    /// Removes the devices of former members from the channel. Returns the number of connections
    /// that did not confirm it.
    async fn take_out(&self, users: &[UserId]) -> Result<usize, ChannelError> {
        self.parts.conversations.readers.forget(self.id()?, users).await?;
        let devices = self.parts.dispatcher.locate(users, Freshness::Current, |_| true).await?;
        Ok(take_out(&self.parts.dispatcher, self.id()?, devices).await)
    }

    /// Counts the connected devices of members, and of others that have joined the channel as a
    /// [`Room`](crate::backend::Room). Servers that do not answer in time are left out.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// assert_eq!(im.channel("team").online().await?, 0, "nobody is connected");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn online(&self) -> Result<u64, ChannelError> {
        Ok(self.parts.dispatcher.count_online(self.id()?).await?)
    }

    /// Returns a page of messages, as [`Im::history`](crate::backend::Im::history) does.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{HistoryQuery, backend::{Im, Message}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.send(Message::new().from("alice").text("hi")).await?;
    /// let page = team.history(HistoryQuery::newest(), 20).await?;
    /// assert_eq!(page.messages[0].content.as_text(), Some("hi"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelHistoryError`].
    pub async fn history(
        &self,
        query: impl Into<crate::HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, ChannelHistoryError> {
        let channel = self.id.clone()?;
        // A channel's history does not depend on the reader.
        Ok(self.parts.history.channel_history(channel, &query.into(), limit).await?)
    }

    /// Returns how many members have read the channel up to a seq or further, and up to `limit` of
    /// their ids (at most [`MAX_NAMED_READERS`](crate::backend::MAX_NAMED_READERS)).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{ConversationChange, ReadMark, backend::{Im, Message}, cluster::Cluster, id::ChannelId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.add_members(["alice", "bob"]).await?;
    /// team.send(Message::new().from("alice").text("hi")).await?;
    /// let read = ConversationChange::new().read(ReadMark::new(1, None));
    /// im.set_conversation("bob", ChannelId::parse("team")?, read).await?;
    /// let readers = team.readers(1, 10).await?;
    /// assert_eq!(readers.users, ["bob".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn readers(&self, seq: u64, limit: usize) -> Result<Readers, ReadersError> {
        Ok(self.parts.conversations.readers.readers(self.id()?, seq, limit).await?)
    }

    /// Returns up to `limit` members behind `after`, in the order of their ids. A shorter page is
    /// the last one.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.add_members(["alice", "bob"]).await?;
    /// let first = team.members(None, 1).await?;
    /// let second = team.members(first.last(), 1).await?;
    /// assert_eq!(second, ["bob".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn members(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, ChannelError> {
        Ok(self.parts.cluster.members().members(self.id()?, after, limit).await?)
    }

    /// Returns `true` if a user is a member.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// assert!(!im.channel("team").is_member("alice").await?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn is_member(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<bool, ChannelError> {
        Ok(self.parts.cluster.members().is_member(self.id()?, &parse_user(user)?).await?)
    }

    fn id(&self) -> Result<&ChannelId, InvalidId> {
        self.id.as_ref().map_err(Clone::clone)
    }
}

/// Asks devices to sync, which joins them to their channels. A device that misses this learns of
/// its channels with its next sync.
async fn ask_to_sync(dispatcher: &Dispatcher, devices: ByServer) {
    let count: usize = devices.iter().map(|(_, located)| located.len()).sum();
    let within_ms = u32::try_from(count * 1000 / SYNCS_PER_SECOND).unwrap_or(u32::MAX);
    // A few devices need not wait for each other.
    let within_ms = if count < SYNCS_PER_SECOND / 10 { 0 } else { within_ms };
    let hint = frame::encode(pb::frame::Body::SyncHint(pb::SyncHint { within_ms, rolled_back: false }));
    dispatcher.deliver(devices, |_| pb::record::Effect::Frames(hint.clone())).await;
}

/// Removes connections from a channel, then tells the devices. Returns the number of connections
/// that did not confirm it.
async fn take_out(dispatcher: &Dispatcher, channel: &ChannelId, devices: ByServer) -> usize {
    let channels = pb::Channels { channels: vec![channel.to_string()], ..pb::Channels::default() };
    let leave = pb::record::Effect::Leave(channels);
    let left = dispatcher.deliver(devices.clone(), |_| leave.clone()).await;
    let told = pb::record::Effect::Frames(left_frame(channel.as_str()));
    dispatcher.deliver(devices, |_| told.clone()).await;
    left.iter().filter(|(_, reach)| reach.is_unconfirmed()).count()
}

fn confirmed(unconfirmed: usize) -> Result<(), ChannelError> {
    match unconfirmed {
        0 => Ok(()),
        connections => Err(ChannelError::Unconfirmed { connections }),
    }
}

#[cfg(test)]
mod tests;
