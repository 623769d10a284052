//! Closing and dissolving channels.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{BATCH, Channel, ChannelError};
use crate::{
    ConversationState, Recipient,
    backend::send::{dispatch::Dispatcher, message::left_frame, publisher::Outcome},
    cluster::{ConversationPatch, RoutesError},
    id::{ChannelId, UserId},
    proto::pb,
};

/// The number of members' conversations that are written at once.
const PARALLEL: usize = 64;

impl Channel {
    /// Ends the channel: removes all members, as [`Channel::remove_members`] does, and removes and notifies every device
    /// that is still connected to it. The log stays until its entries are too old.
    ///
    /// If the members are in the application's own tables, delete their rows before or after the call. Rows that remain
    /// have no effect: nobody follows the channel until [`Channel::add_members`] or [`Channel::members_changed`] opens it
    /// again.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.add_members(["alice", "bob"]).await?;
    /// team.close().await?;
    /// assert!(team.members(None, 10).await?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`]. Repeating it does no harm.
    #[doc(alias = "delete group")]
    pub async fn close(&self) -> Result<(), ChannelError> {
        self.end_for_all(Listing::Gone).await
    }

    /// Ends the channel as [`Channel::close`] does, but keeps it in the lists of its former members, with its last
    /// message. [`ConversationState::closed`] is set, by which the application can show a note. It stays until each
    /// user deletes it ([`ConversationChange::delete`](crate::ConversationChange::delete)).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message}, cluster::Cluster, id::UserId};
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let team = im.channel("team");
    /// team.add_members(["alice"]).await?;
    /// team.send(Message::new().from("alice").text("goodbye")).await?;
    /// team.dissolve().await?;
    /// let page = im.conversations(&UserId::parse("alice")?, 0, 20).await?;
    /// assert!(page.conversations[0].state.closed.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`]. Repeating it does no harm.
    pub async fn dissolve(&self) -> Result<(), ChannelError> {
        self.end_for_all(Listing::Kept).await
    }

    async fn end_for_all(&self, listing: Listing) -> Result<(), ChannelError> {
        let channel = self.id()?;
        let (mut connections, mut after) = (0, None::<UserId>);
        loop {
            let members = self.members(after.as_ref(), BATCH).await?;
            let Some(last) = members.last().cloned() else { break };
            if after.as_ref().is_some_and(|after| last <= *after) {
                // Tables that ignore `after` have returned all their rows.
                break;
            }
            connections += self.end_for(&members, listing, after.as_ref()).await?;
            if members.len() < BATCH {
                break;
            }
            after = Some(last);
        }
        connections += self.end_for_noted(listing).await?;
        let servers = take_everybody_out(&self.parts.dispatcher, channel).await?;
        match (connections, servers) {
            (0, 0) => Ok(()),
            (0, servers) => Err(ChannelError::UnconfirmedServers { servers }),
            (connections, _) => Err(ChannelError::Unconfirmed { connections }),
        }
    }

    /// Ends the channel for noted readers whom the application's tables do not name any more.
    async fn end_for_noted(&self, listing: Listing) -> Result<usize, ChannelError> {
        let store = self.parts.cluster.conversations();
        let (channel, mut connections, mut before) = (self.id()?, 0, Vec::new());
        loop {
            let noted = store.readers(channel, 0, BATCH).await?.users;
            if noted.is_empty() || noted == before {
                return Ok(connections);
            }
            connections += self.end_for_former(&noted, listing).await?;
            before = noted;
        }
    }

    /// Ends the channel for the members behind `after`.
    async fn end_for(
        &self,
        users: &[UserId],
        listing: Listing,
        after: Option<&UserId>,
    ) -> Result<usize, ChannelError> {
        let members = self.parts.cluster.members();
        let closed = match listing {
            Listing::Kept => self.note_closed(users, self.end().await?).await?,
            Listing::Gone => Vec::new(),
        };
        if !members.is_read_only() {
            members.remove(self.id()?, users).await?;
        }
        // Rows of the application may be deleted later. Until then a sync must not bring the
        // channel back.
        let stay = listing == Listing::Gone && self.members(after, 1).await?.first() == users.first();
        if stay {
            self.note_closed(users, 0).await?;
        }
        let connections = self.take_out(users).await?;
        self.tell_closed(closed).await;
        Ok(connections)
    }

    async fn end_for_former(&self, users: &[UserId], listing: Listing) -> Result<usize, ChannelError> {
        let closed = match listing {
            Listing::Kept => self.note_closed(users, self.end().await?).await?,
            Listing::Gone => Vec::new(),
        };
        let connections = self.take_out(users).await?;
        self.tell_closed(closed).await;
        Ok(connections)
    }

    async fn end(&self) -> Result<u64, ChannelError> {
        Ok(self.parts.conversations.readers.end(self.id()?).await?)
    }

    /// Notes the channel as closed for these users. Returns the changed states.
    async fn note_closed(
        &self,
        users: &[UserId],
        end: u64,
    ) -> Result<Vec<(UserId, ConversationState)>, ChannelError> {
        let store = self.parts.cluster.conversations();
        let name = Recipient::Channel(self.id()?.clone());
        let patch = ConversationPatch { closed: Some(Some(end)), ..ConversationPatch::default() };
        let (name, patch) = (&name, &patch);
        let changes = users.iter().map(|user| async move {
            let outcome = store.change(user, name, patch).await?;
            Ok::<_, ChannelError>(outcome.changed.then(|| (user.clone(), outcome.state)))
        });
        let changes: Vec<_> = changes.collect();
        let changed = stream::iter(changes).buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await?;
        Ok(changed.into_iter().flatten().collect())
    }

    async fn tell_closed(&self, closed: Vec<(UserId, ConversationState)>) {
        let tells = closed.into_iter().map(|(user, state)| async move {
            self.parts.conversations.pusher.tell_changes(&user, None, vec![state]).await
        });
        let tells: Vec<_> = tells.collect();
        stream::iter(tells).buffer_unordered(PARALLEL).collect::<()>().await;
    }
}

/// The effect on an ended channel in its members' lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Gone,
    Kept,
}

/// Removes every connection that is still in a channel as a member, and tells the devices. Returns
/// the number of servers that did not confirm it.
async fn take_everybody_out(dispatcher: &Dispatcher, channel: &ChannelId) -> Result<usize, RoutesError> {
    let channels = pb::Channels { channels: vec![channel.to_string()], ..pb::Channels::default() };
    empty_channel(dispatcher, channel, left_frame(channel.as_str()), channels).await
}

/// Tells every connection in a channel, then removes those that `leave` describes. Returns the
/// number of servers that did not confirm it.
pub(in crate::backend::channels) async fn empty_channel(
    dispatcher: &Dispatcher,
    channel: &ChannelId,
    told: bytes::Bytes,
    leave: pb::Channels,
) -> Result<usize, RoutesError> {
    let servers: HashSet<_> = dispatcher.servers_of(channel).await?;
    let mut dispatched = Vec::new();
    // In this order, since connections that have left are not told any more.
    for effect in [pb::record::Effect::Frames(told), pb::record::Effect::Leave(leave)] {
        let record =
            pb::Record { channel: channel.to_string(), effect: Some(effect), ..pb::Record::default() };
        dispatched = dispatcher.dispatch_to_all(&servers, &record).await;
    }
    let mut unconfirmed = 0;
    for (_, delivery) in dispatched {
        // A server that does not answer may still hold its connections.
        unconfirmed += usize::from(!matches!(delivery.await, Outcome::Done { .. }));
    }
    Ok(unconfirmed)
}
