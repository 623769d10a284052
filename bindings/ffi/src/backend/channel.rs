//! Channels and rooms of a back end.

use std::sync::Arc;

use im_sdk::id::UserId;

use super::{Backend, BackendError, LoggedPage, OutgoingMessage, Receipt, message::strings, run};
use crate::{HistoryQuery, Readers};

#[uniffi::export]
impl Backend {
    /// Adds users to a channel. With `history_from_joining` they cannot see earlier messages.
    ///
    /// # Errors
    /// [`BackendError`], here and below.
    pub async fn add_members(
        &self,
        channel: String,
        users: Vec<String>,
        history_from_joining: bool,
    ) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        let channel = if history_from_joining { channel.history_from_joining() } else { channel };
        run(async move { Ok(channel.add_members(users).await?) }).await
    }

    /// Removes users from a channel.
    pub async fn remove_members(&self, channel: String, users: Vec<String>) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.remove_members(users).await?) }).await
    }

    /// Reports that the application's own member table has changed.
    pub async fn members_changed(
        &self,
        channel: String,
        added: Vec<String>,
        removed: Vec<String>,
    ) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.members_changed(added, removed).await?) }).await
    }

    /// Lists members of a channel in order, starting after a given member.
    pub async fn members(
        &self,
        channel: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, BackendError> {
        let after = after.map(|user| UserId::parse(&user)).transpose()?;
        let channel = self.im()?.channel(channel);
        run(async move { Ok(strings(&channel.members(after.as_ref(), limit as usize).await?)) }).await
    }

    /// Returns whether a user is a member of a channel.
    pub async fn is_member(&self, channel: String, user: String) -> Result<bool, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.is_member(user).await?) }).await
    }

    /// Returns the channels that a user is a member of.
    pub async fn channels(&self, user: String) -> Result<Vec<String>, BackendError> {
        let im = self.im()?;
        run(async move { Ok(strings(&im.channels(user).await?)) }).await
    }

    /// Returns the number of connected devices of members.
    pub async fn channel_online(&self, channel: String) -> Result<u64, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.online().await?) }).await
    }

    /// Closes a channel. It loses all its members, who keep its history.
    pub async fn close_channel(&self, channel: String) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.close().await?) }).await
    }

    /// Dissolves a channel. It loses all its members, who also lose its history.
    pub async fn dissolve_channel(&self, channel: String) -> Result<(), BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move { Ok(channel.dissolve().await?) }).await
    }

    /// Returns who has read the message at a position of a channel.
    pub async fn channel_readers(
        &self,
        channel: String,
        seq: u64,
        limit: u32,
    ) -> Result<Readers, BackendError> {
        let channel = self.im()?.channel(channel);
        run(async move {
            let readers = channel.readers(seq, limit as usize).await?;
            Ok(Readers { count: readers.count, users: strings(&readers.users) })
        })
        .await
    }

    /// Reads a page of a channel's history, as the back end sees it.
    pub async fn channel_history(
        &self,
        channel: String,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<LoggedPage, BackendError> {
        let (channel, query) = (self.im()?.channel(channel), query.parse()?);
        run(async move { Ok(channel.history(query, limit as usize).await?.into()) }).await
    }

    /// Sends a message to all devices in a room. The message is transient unless its durability is set.
    pub async fn send_to_room(
        &self,
        room: String,
        message: OutgoingMessage,
    ) -> Result<Arc<Receipt>, BackendError> {
        let (room, message) = (self.im()?.room(room), message.parse()?);
        run(async move { Ok(Receipt::new(room.send(message).await?)) }).await
    }

    /// Adds to a counter of a room. Additions in quick succession are sent as one message.
    pub async fn count_in_room(&self, room: String, kind: String, add: u64) -> Result<(), BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.count(&kind, add)?) }).await
    }

    /// Returns the number of devices in a room.
    pub async fn room_online(&self, room: String) -> Result<u64, BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.online().await?) }).await
    }

    /// Removes all devices of a user from a room, and returns their number.
    pub async fn kick_from_room(
        &self,
        room: String,
        user: String,
        reason: String,
    ) -> Result<u64, BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.kick(user, &reason).await? as u64) }).await
    }

    /// Removes all devices from a room.
    pub async fn close_room(&self, room: String, reason: String) -> Result<(), BackendError> {
        let room = self.im()?.room(room);
        run(async move { Ok(room.close(&reason).await?) }).await
    }
}
