//! Channels: groups and rooms. Who is a member, and what is sent to all of them.

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
            dispatch::{ByServer, Dispatcher, Freshness},
            error::SendError,
            message::{Message, Target, left_frame},
            receipt::Receipt,
        },
    },
    cluster::{ConversationsError, LogError, MembersError, Readers, RoutesError},
    id::{ChannelId, InvalidId, UserId},
    proto::{frame, pb},
};

/// How many members are added or removed, and their devices told, in one step.
const BATCH: usize = 1024;

/// How many devices that have become members may sync in a second.
const SYNCS_PER_SECOND: usize = 2000;

/// Membership was not read, not changed, or not told to all devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel or one of the users has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The store of members did not answer. Some of the users may have been added or removed: repeat it.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// The membership is changed, but not what the users have read: some new members may see all as unread, and some who
    /// were removed may still count among the readers. Repeating the removal does the rest.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
    /// The log store did not say where the channel's log ends. Nobody was added.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The membership is changed, but the users' devices could not be located: they learn of it when they sync the next
    /// time. Repeat it to tell them.
    #[error("the members' devices were not told: {}", chain(_0))]
    Routes(RoutesError),
    /// The users are no members any more, but servers did not confirm that their connections have left: those may still
    /// get messages of the channel. Repeat it to be sure.
    #[error(
        "the members were removed, but {connections} connections may still receive messages of the channel"
    )]
    Unconfirmed {
        /// How many connections.
        connections: usize,
    },
    /// The channel has no members any more, but servers did not confirm that those who were connected to it have left: they
    /// may still get messages of the channel. Repeat it to be sure.
    #[error(
        "the channel is closed, but {servers} servers did not confirm that nobody is connected to it any more"
    )]
    UnconfirmedServers {
        /// How many servers.
        servers: usize,
    },
}

impl From<RoutesError> for ChannelError {
    fn from(error: RoutesError) -> Self {
        Self::Routes(error)
    }
}

/// The past of a channel cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelHistoryError {
    /// The channel has no valid id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// It was not found out.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// A channel, by its name. It needs no creation: it is there as soon as somebody is a member or something was sent.
#[derive(Clone, Debug)]
#[doc(alias("group", "team", "chat room"))]
pub struct Channel {
    parts: Arc<ChannelParts>,
    id: Result<ChannelId, InvalidId>,
    /// New members see nothing that was there before.
    from_joining: bool,
}

impl Channel {
    pub(in crate::backend) fn new(parts: Arc<ChannelParts>, id: Result<ChannelId, InvalidId>) -> Self {
        Self { parts, id, from_joining: false }
    }

    /// Sends a message to the members. It is made by [`Message::new`], or for this channel; one for another target is
    /// [`InvalidMessage::OtherTarget`](crate::backend::InvalidMessage::OtherTarget). The same as [`Im::send`] with
    /// [`channel`](crate::backend::channel) as the target: one entry in the channel's log, whatever the number of members.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.parts.sender.send(message.retarget(Target::channel(self.id.clone()))?).await
    }

    /// The same channel for adding members who are to see nothing that was there before they joined: not in history, not in
    /// search, not in what their devices sync.
    ///
    /// It counts for the members that are added by this handle; the channel does not remember it. Who is removed and added
    /// again sees what comes from then on.
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
    /// let seen = im.history(&carol, &name, HistoryQuery::newest(), 20).await?.entries;
    /// assert_eq!(seen.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn history_from_joining(self) -> Self {
        Self { from_joining: true, ..self }
    }

    /// Adds members. Their connected devices start to follow the channel at once, near the end of its log. What was said
    /// before is not unread to them.
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

    /// Removes members. Once it is Ok, nothing of the channel reaches their devices any more, and those that are connected
    /// have been told.
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

    /// Makes known that the application has changed members in its own tables: their devices begin to follow the channel, or
    /// leave it, as with [`Channel::add_members`] and [`Channel::remove_members`]. The tables are changed first.
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

    /// Those of them who are new, for whom what was said so far is noted as read. Before they are members: what is said from
    /// then on is unread to them.
    async fn prepare_for(&self, users: &[UserId]) -> Result<Vec<UserId>, ChannelError> {
        let (channel, readers) = (self.id()?, &self.parts.conversations.readers);
        let end = readers.end(channel).await?;
        // Members in tables of the application's own are there already. So it is noted who was added.
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

    /// Has the devices of former members leave. Returns how many connections did not confirm that.
    async fn take_out(&self, users: &[UserId]) -> Result<usize, ChannelError> {
        self.parts.conversations.readers.forget(self.id()?, users).await?;
        let devices = self.parts.dispatcher.locate(users, Freshness::Current, |_| true).await?;
        Ok(take_out(&self.parts.dispatcher, self.id()?, devices).await)
    }

    /// How many devices of members are connected, and of others that have joined it as a [`Room`](crate::backend::Room). Servers that do
    /// not answer in time do not count.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn online(&self) -> Result<u64, ChannelError> {
        Ok(self.parts.dispatcher.count_online(self.id()?).await?)
    }

    /// A page of what was said, as [`Im::history`] gives it.
    ///
    /// # Errors
    /// [`ChannelHistoryError`].
    pub async fn history(
        &self,
        query: impl Into<crate::HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, ChannelHistoryError> {
        let channel = self.id.clone()?;
        // Whoever asks: nothing of a channel's history depends on it.
        Ok(self.parts.history.channel_history(channel, &query.into(), limit).await?)
    }

    /// How many members have read the channel up to a place or further, and who, up to `limit` (at most
    /// [`MAX_NAMED_READERS`]) names.
    ///
    /// # Errors
    /// [`ReadersError`].
    pub async fn readers(&self, seq: u64, limit: usize) -> Result<Readers, ReadersError> {
        Ok(self.parts.conversations.readers.readers(self.id()?, seq, limit).await?)
    }

    /// Up to `limit` members behind `after`, in the order of their names. Fewer than that: it was the last page.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn members(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, ChannelError> {
        Ok(self.parts.cluster.members().members(self.id()?, after, limit).await?)
    }

    /// Whether a user is a member.
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

/// Has devices sync, which joins them to their channels. One that misses it learns of them at its next sync.
async fn ask_to_sync(dispatcher: &Dispatcher, devices: ByServer) {
    let count: usize = devices.iter().map(|(_, located)| located.len()).sum();
    let within_ms = u32::try_from(count * 1000 / SYNCS_PER_SECOND).unwrap_or(u32::MAX);
    // A few at once need not wait for each other.
    let within_ms = if count < SYNCS_PER_SECOND / 10 { 0 } else { within_ms };
    let hint = frame::encode(pb::frame::Body::SyncHint(pb::SyncHint { within_ms, rolled_back: false }));
    dispatcher.deliver(devices, |_| pb::record::Effect::Frames(hint.clone())).await;
}

/// Has connections leave a channel, then tells the devices. Returns how many connections did not confirm that.
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
